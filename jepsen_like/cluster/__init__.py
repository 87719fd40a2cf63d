"""Real processes, real files, real sockets: a group under test, and what stands between its replicas."""
