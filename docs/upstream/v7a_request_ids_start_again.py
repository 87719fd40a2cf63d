"""A forwarded command is known by a counter that starts at 1 in every process: a restart mixes the answers up."""

from bench import Bench, verdict

bench = Bench(files=True)
bench.elect("A", "C")
bench.settle("A", "BC")
bench.add("B", "first")
bench.tick("B")  # forwards it to the leader as request 1
bench.deliver("B", "A")  # it waits in A's queue
bench.kill("B")
bench.start("B")
bench.tick("A")  # a heartbeat, and the answer to request 1
bench.deliver("A", "B", 1)  # B knows the leader
bench.add("B", "second")
bench.tick("B")  # forwards it as request 1
bench.deliver("A", "B")  # the answer to the old request 1 arrives
bench.lose("B", "A")  # the connection breaks: "second" never reaches the leader
bench.settle("A", "BC")
bench.settle("A", "BC")
print("client is told of second:", bench.outcome.get("second"))
print("applied:", {name: bench.nodes[name].values for name in "ABC"})
verdict(
    bench.outcome.get("second") == (0, "SUCCESS") and "second" not in bench.nodes["A"].values,
    "a command that never reached the leader was answered with another command's success",
)
