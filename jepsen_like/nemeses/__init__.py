"""Faults: each strikes a running group, and heals what it broke."""
