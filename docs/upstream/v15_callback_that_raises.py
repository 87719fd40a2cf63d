"""A client's callback that raises makes the entry apply again."""

from bench import Bench, verdict


def raises(*_: object) -> None:
    raise RuntimeError("the client's own mistake")


bench = Bench()
bench.elect("A", "B")
bench.settle("A", "BC")
bench.ask("A", "x", raises)
try:
    bench.settle("A", "BC")
except RuntimeError as error:
    print("a tick of A raises", repr(error))
bench.settle("A", "BC")
print("values:", {name: bench.nodes[name].values for name in "ABC"})
verdict(bench.nodes["A"].values == ["x", "x"], "one replica applied the command twice")
