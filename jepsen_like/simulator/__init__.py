"""The real replica code in one process, single-threaded, on a virtual clock: every run is repeatable from its seed."""
