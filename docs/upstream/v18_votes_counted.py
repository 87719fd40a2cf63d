"""Votes are counted, not collected: one that a transport delivers twice counts twice."""

from bench import Bench, verdict

bench = Bench("ABCDE")
bench.tick("A", after_s=1.5)
bench.deliver("A", "B")
bench.wire["B", "A"] *= 2  # delivered twice
bench.deliver("B", "A")
print("A leads:", bench.leads("A"), "term", bench.status("A", "raft_term"), "with the votes of A and B of five")

for voter in "CDE":
    bench.lose("A", voter)
bench.elect("C", "DE")
print("C leads:", bench.leads("C"), "term", bench.status("C", "raft_term"), "with the votes of C, D and E")
verdict(
    bench.leads("A") and bench.leads("C") and bench.status("A", "raft_term") == bench.status("C", "raft_term"),
    "two leaders in one term",
)
