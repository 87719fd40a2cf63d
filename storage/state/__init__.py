"""The state machine's tables in LMDB, every version kept, and the twin in memory."""
