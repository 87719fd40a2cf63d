"""The seams to clock, randomness, threads and timers, and the promise that a request waits for."""
