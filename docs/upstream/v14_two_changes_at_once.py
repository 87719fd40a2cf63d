"""The check that allows one membership change at a time never refuses: its variable is never set."""

from bench import Bench, verdict

bench = Bench(dynamicMembershipChange=True)
bench.elect("A", "B")
bench.settle("A", "BC")
for other in "BC":  # from here on A is cut off from B and C
    bench.lose("A", other)

answers: dict[str, int] = {}
for name in "DE":  # two new nodes, which A reaches
    bench.start(name, others="ABCDE")
    bench.nodes["A"].addNodeToCluster(bench.peers[name], lambda _, reason, name=name: answers.update({name: reason}))
bench.add("A", "by A")
bench.settle("A", "DE", rounds=6)
print("A's group:", sorted(node.id for node in bench.nodes["A"].otherNodes), "answers:", answers)

bench.elect("B", "C")
bench.add("B", "by B")
bench.settle("B", "C", rounds=6)
print("A leads term", bench.status("A", "raft_term"), "and has committed", bench.nodes["A"].values)
print("B leads term", bench.status("B", "raft_term"), "and has committed", bench.nodes["B"].values)
verdict(
    bench.nodes["A"].values == ["by A"] and bench.nodes["B"].values == ["by B"],
    "two changes accepted at once made two majorities that do not meet",
)
