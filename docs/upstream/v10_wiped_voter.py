"""A voter that comes back without its journal votes again as if it had promised nothing."""

from bench import Bench, verdict

bench = Bench()  # journalFile is None, as by default: every restart is one without a journal
bench.elect("A", "B")
bench.settle("A", "BC")
bench.add("A", "x")
bench.tick("A")
bench.lose("A", "C")  # C is slow
for _ in range(3):
    bench.tick("A")
    bench.deliver("A", "B")
    bench.deliver("B", "A")
bench.lose("A", "C")
print("client is told of x:", bench.outcome["x"], "A and B hold", bench.log("B"), "C holds", bench.log("C"))

bench.kill("B")
bench.start("B")
for one, other in ("AB", "BA", "CA"):  # A is cut off for a while
    bench.lose(one, other)
bench.elect("C", "B")
print("C leads:", bench.leads("C"), "term", bench.status("C", "raft_term"))
bench.settle("C", "AB")
print("values:", {name: bench.nodes[name].values for name in "ABC"})
verdict(
    "x" in bench.outcome and bench.leads("C") and bench.nodes["C"].values == [],
    "a voter without its journal elected a leader that lacks an acknowledged command",
)
