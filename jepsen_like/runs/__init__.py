"""A run: a group, a workload, nemeses, and the verdict on what happened."""
