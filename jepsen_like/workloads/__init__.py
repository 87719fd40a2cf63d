"""Workloads: what clients do to a group under test, and what must be true afterwards."""
