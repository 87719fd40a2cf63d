"""The one home of LMDB: environments, and a check of their pages before they are mapped."""
