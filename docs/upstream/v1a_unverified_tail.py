"""A message without prevLogIdx makes a follower commit its own tail, which nobody verified."""

from bench import Bench, verdict

bench = Bench(logCompactionBatchSize=64)  # a snapshot takes several messages
bench.elect("A", "B")
bench.settle("A", "BC")
bench.add("A", "never-1", "never-2")  # stays on A alone
bench.tick("A")
for other in "BC":
    bench.lose("A", other)
    bench.lose(other, "A")

bench.elect("B", "C")  # A is cut off and does not notice
bench.add("B", "w", "x", "y", "z")
bench.settle("B", "C")
print("committed by B and C:", bench.nodes["B"].values)
bench.nodes["B"].forceLogCompaction()
bench.tick("B", "B")
bench.lose("B", "A")
bench.lose("A", "B")
print("B keeps", bench.log("B"), "and a snapshot; A has", bench.log("A"))

while True:  # A is back: B finds how far it is
    bench.tick("B")
    if any("serialized" in message for message in bench.wire["B", "A"]):
        break
    bench.deliver("B", "A")
    bench.deliver("A", "B")
print("first message with a piece of the snapshot:", sorted(bench.wire["B", "A"][0]))
bench.deliver("B", "A", 1)
bench.tick("A")
print("applied by A:", bench.nodes["A"].values)
verdict(
    bench.nodes["A"].values == ["never-1", "never-2"],
    "after one piece of a snapshot the follower applied two commands that were never committed",
)
