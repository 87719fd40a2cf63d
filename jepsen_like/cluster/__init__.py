"""Real processes, real files, real sockets: a group under test, and the relays between its replicas."""
