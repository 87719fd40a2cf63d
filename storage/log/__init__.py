"""The replicated log on disk: segment files with one synced frame a commit, and the twin in memory."""
