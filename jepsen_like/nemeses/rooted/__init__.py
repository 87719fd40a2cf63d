"""Faults that need root and a feature of the kernel; each says in a line what is missing on a machine without it."""
