"""The pure core: `apply(view, entry) -> Step`. No clock, no randomness, no I/O, no exception for a refusal."""
