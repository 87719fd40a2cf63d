"""Everything on disk. It knows no network, no pysyncobj, no HTTP. Import it as `raftmem.storage`."""

if __name__ == "storage":
    raise ImportError("import raftmem.storage, not storage: a top-level name would collide with a user's own")
