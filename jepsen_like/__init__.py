"""Fault injection: `simulator` (deterministic, one process), and `python -m jepsen_like` (real processes). Run from a
checkout."""
