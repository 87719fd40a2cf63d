"""A follower with a conflicting tail answers each pipelined append with a reset; the last one wins, for ever."""

from bench import Bench, verdict

bench = Bench(appendEntriesBatchSizeBytes=60)  # three of these commands a message
bench.elect("A", "B")
bench.settle("A", "BC")
bench.add("A", *"abcdefghijkl")  # stays on A alone
bench.tick("A")
bench.elect("B", "C")
bench.add("B", *"ABCDEFGHIJKL")
bench.settle("B", "C")
for one, other in ("AB", "BA", "AC", "CA"):
    bench.lose(one, other)
print("A holds", bench.log("A")[-1], "B and C have committed", bench.status("B", "commit_idx"))

seen = []
for _ in range(500):  # A is back; nothing is lost and nothing is late from here on
    bench.tick("B")
    bench.deliver("B", "A")
    bench.tick("A")
    bench.deliver("A", "B")
    seen.append(bench.status("B", "next_node_idx_server_A"))
print("B's next index for A after each of the last rounds:", seen[-6:])
print("after 500 rounds A holds", bench.log("A")[-1])
verdict(bench.log("A")[-1] == "14/1", "a follower that is connected and well never rejoins")
