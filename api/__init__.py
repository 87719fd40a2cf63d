"""HTTP in, HTTP out; no rule of the business. Import it as `raftmem.api`."""

if __name__ == "api":
    raise ImportError("import raftmem.api, not api: a top-level name would collide with a user's own")
