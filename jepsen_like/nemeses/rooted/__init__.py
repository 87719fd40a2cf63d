"""Faults that need root, and something of the kernel; each says in a line what is missing where it cannot be done."""
