"""Fault injection: `simulator` (deterministic, one process) and, later, real processes. Run from a checkout."""
