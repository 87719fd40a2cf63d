"""The peer port: connections, greetings, frames, TLS."""
