"""The vector index on FAISS, derived from the state, and the twin in memory."""
