"""Nothing is flushed to disk before a vote or an ack leaves: after a power loss a node votes twice in one term."""

import os
import shutil

import pysyncobj.journal as stock
from bench import Bench, verdict

flushed: list[str] = []
for place, name in ((os, "fsync"), (os, "fdatasync"), (stock.FileJournal, "flush"), (stock.ResizableFile, "flush")):
    setattr(place, name, lambda *_, name=name: flushed.append(name))

bench = Bench(files=True)
suffixes = ("journal", "journal.meta")
shutil.copytree(bench.path("B", "journal").parent, bench.path("on", "disk"), ignore=shutil.ignore_patterns("on.disk"))
bench.elect("A", "B")
print("A leads:", bench.leads("A"), "term", bench.status("A", "raft_term"), "by B's vote; flushed so far:", flushed)

bench.kill("B")  # the machine loses power: its files are again as they were last on disk
for suffix in suffixes:
    file = bench.path("B", suffix)
    file.unlink(missing_ok=True)
    on_disk = bench.path("on", "disk") / file.name
    if on_disk.exists():
        shutil.copy(on_disk, file)
bench.start("B")
bench.lose("A", "B")
bench.lose("A", "C")
bench.elect("C", "B")
print("C leads:", bench.leads("C"), "term", bench.status("C", "raft_term"), "by B's vote")
verdict(
    not flushed
    and bench.leads("A")
    and bench.leads("C")
    and bench.status("A", "raft_term") == bench.status("C", "raft_term"),
    "two leaders in one term after a power loss",
)
