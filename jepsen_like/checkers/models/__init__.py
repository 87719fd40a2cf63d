"""What one thing may do when it is asked by one client after the other: a register, a memory, a lock, and others."""
