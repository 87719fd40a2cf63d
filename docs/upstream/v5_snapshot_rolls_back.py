"""A snapshot that arrives at a follower which is already further throws away what the follower has."""

from bench import Bench, verdict

bench = Bench()
bench.elect("A", "C")
bench.settle("A", "C")  # B is behind from the start
bench.add("A", "a", "b", "c")
bench.settle("A", "C")
bench.lose("A", "B")
bench.tick("A", "A")  # two heartbeats, each of which B answers with a reset
bench.deliver("A", "B")
bench.add("A", "d", "e")
bench.tick("A")
bench.deliver("B", "A", 1)
bench.tick("A")  # the first reset is answered with everything
bench.deliver("A", "B")
bench.lose("A", "C")
print("B holds", bench.log("B"))

bench.nodes["A"].forceLogCompaction()
bench.tick("A", "A")  # its dump ends before d and e
bench.deliver("B", "A", 1)  # the second reset, sent before B was brought up to date
bench.tick("A")
bench.deliver("B", "A")  # the ack of everything
bench.tick("A")
print("A holds", bench.log("A"), "and tells the client of e:", bench.outcome["e"])
while bench.log("B")[-1] == "7/1" and bench.wire["A", "B"]:
    bench.deliver("A", "B", 1)
print("B holds", bench.log("B"))

bench.kill("A")
bench.elect("B", "C")
bench.settle("B", "C")
print("the new leader's values:", bench.nodes["B"].values)
verdict(
    bench.outcome["e"][1] == "SUCCESS" and bench.leads("B") and "e" not in bench.nodes["B"].values,
    "an older snapshot rolled a follower back and two acknowledged commands were lost",
)
