"""Consensus and its log: writes in order, what waits for the disk, what is applied."""
