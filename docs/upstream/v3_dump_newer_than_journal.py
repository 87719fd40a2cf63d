"""A dump that is newer than the journal's beginning clears the whole journal at restart, its acknowledged tail too."""

from bench import Bench, verdict

bench = Bench(files=True)
bench.elect("A", "B")
bench.settle("A", "BC")
bench.add("A", "a", "b", "c")
bench.settle("A", "BC")
bench.add("A", "d", "e", "f")  # reaches B only
bench.tick("A", "A")
bench.deliver("A", "B")
bench.deliver("B", "A")
bench.tick("A")
print("client is told of f:", bench.outcome["f"], "B holds", bench.log("B"))

bench.nodes["B"].forceLogCompaction()
bench.lose("A", "B")
bench.tick("B")  # writes the dump; the journal would be cut in the next tick
bench.kill("B")
bench.kill("A")
bench.start("B")
bench.tick("B")
print("B after a restart holds", bench.log("B"))
bench.elect("B", "C")
bench.settle("B", "C")
print("the new leader's values:", bench.nodes["B"].values)
verdict(
    bench.leads("B") and "f" not in bench.nodes["B"].values,
    "a process kill at one point of a compaction lost three acknowledged commands",
)
