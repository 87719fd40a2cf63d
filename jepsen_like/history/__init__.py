"""Histories: requests, answers, and the faults meanwhile, in one format, JSON lines."""
