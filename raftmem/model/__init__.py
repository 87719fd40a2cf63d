"""The vocabulary: what a log entry can say, what the state holds, their bytes and their hash. It computes nothing."""
