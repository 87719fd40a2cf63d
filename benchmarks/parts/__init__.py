"""The work that is measured: a module each, with one function that runs its races on a `Bench`."""
