"""Consistent copies of the state as files, and the twin in memory."""
