"""An ack says neither its term nor its round: one of an earlier leadership is counted in a later one."""

from bench import Bench, verdict

bench = Bench("ABCDE")
bench.elect("A", "BC")
bench.settle("A", "BCDE")
bench.add("A", *"1234567")
bench.tick("A", "A")
bench.deliver("A", "B")
late = bench.wire["B", "A"].copy()
bench.lose("B", "A")  # not lost: late
for other in "CDE":
    bench.lose("A", other)
print("B holds", bench.log("B")[-1], "and its ack is slow")

bench.elect("C", "DE")  # term 2
bench.lose("C", "B")
bench.settle("C", "AD")
print("term 2 has brought A to", bench.log("A")[-1])
for other in "BE":
    bench.lose("C", other)
bench.elect("A", "CD")  # term 3
bench.add("A", "x")
bench.tick("A", "A")
bench.lose("A", "B")
bench.deliver("A", "C")
bench.deliver("C", "A")
bench.wire["B", "A"] = late
bench.deliver("B", "A")  # the ack of term 1 arrives
bench.tick("A")
holders = [name for name in "ABCDE" if bench.log(name)[-1] == bench.log("A")[-1]]
print("client is told of x:", bench.outcome.get("x"), "held by", holders, "of five")

bench.kill("A")
bench.kill("C")
bench.elect("D", "BE")
bench.settle("D", "BE")
print("D leads:", bench.leads("D"), "values:", bench.nodes["D"].values)
verdict(
    "x" in bench.outcome and bench.leads("D") and "x" not in bench.nodes["D"].values,
    "an ack of term 1 let a leader of term 3 commit on two of five nodes, and the command was lost",
)
