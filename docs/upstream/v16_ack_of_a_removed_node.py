"""An ack of a node that has just been removed is a KeyError on the leader."""

from bench import Bench, verdict

bench = Bench(dynamicMembershipChange=True)
bench.elect("A", "B")
bench.settle("A", "BC")
bench.tick("A")
bench.deliver("A", "C")  # C's ack is on its way
bench.nodes["A"].removeNodeFromCluster(bench.peers["C"])
bench.tick("A")
print("A's group:", sorted(node.id for node in bench.nodes["A"].otherNodes))
try:
    bench.deliver("C", "A")
    raised = "nothing"
except KeyError as error:
    raised = f"KeyError({error})"
print("the ack raises", raised)
verdict(raised != "nothing", "a late ack of a removed node raises in the leader's tick")
