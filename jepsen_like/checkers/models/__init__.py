"""Models of one object that serves one client at a time: a register, a memory, a lock, and others."""
