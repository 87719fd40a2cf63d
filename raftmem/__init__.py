"""raftmem: a Raft-replicated, strongly consistent log service for the memory of AI agents."""

__version__ = "0.1.0"
