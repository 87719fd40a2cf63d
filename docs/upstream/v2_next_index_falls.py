"""An older ack lowers the next index; entries that match are cut off and put back one batch at a time."""

from bench import Bench, verdict

bench = Bench(appendEntriesBatchSizeBytes=60)  # three of these commands a message
bench.elect("A", "B")
bench.settle("A", "BC")
bench.add("A", *"abcdefghi")
bench.tick("A", "A")
bench.deliver("A", "B")
print("B holds", bench.log("B")[-1], "and its answers are on their way")

bench.deliver("B", "A", 2)  # the heartbeat and the first of three batches
print("A's next index for B:", bench.status("A", "next_node_idx_server_B"))
bench.tick("A")  # sends the second and third batch again
bench.deliver("B", "A")
bench.tick("A")
print("A commits", bench.status("A", "commit_idx"), "and tells the client of i:", bench.outcome["i"])

bench.deliver("A", "B", 1)  # the second batch, again; the connection breaks behind it
print("B holds", bench.log("B")[-1])
bench.kill("A")
bench.elect("B", "C")
bench.settle("B", "C")
print("the new leader's values:", bench.nodes["B"].values)
verdict(
    bench.outcome["i"] == (8, "SUCCESS") and bench.leads("B") and "i" not in bench.nodes["B"].values,
    "three acknowledged commands are missing from the next leader",
)
