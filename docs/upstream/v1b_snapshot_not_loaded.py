"""A snapshot that could not be loaded is acknowledged, and with it whatever the follower's own log ends with."""

from bench import Bench, verdict

bench = Bench()
bench.elect("A", "B")
bench.settle("A", "BC")
bench.add("A", *"1234567")  # stays on A alone
bench.tick("A")
bench.elect("B", "C")  # A is cut off and does not notice
bench.add("B", "w", "x")
bench.settle("B", "C")
bench.nodes["B"].forceLogCompaction()
bench.add("B", "y", "z")  # stays on B alone
bench.tick("B", "B")
for one, other in ("AB", "BA", "AC", "CA", "BC"):
    bench.lose(one, other)
print("A holds", bench.log("A")[-1], "B holds", bench.log("B"))

answers: list[dict] = []
for _ in range(10):  # A is back, C is gone
    if any(answer["success"] for answer in answers):
        break
    bench.tick("B")
    for message in bench.wire["B", "A"]:
        if "serialized" in message:  # the snapshot cannot be loaded, say because a class is missing where it arrives
            piece, is_first, is_last = message["serialized"]
            message["serialized"] = (b"not a dump" if piece else b"", is_first, is_last)
    bench.deliver("B", "A")
    answers = list(bench.wire["A", "B"])
    bench.deliver("A", "B")
print("A still holds", bench.log("A")[-1], "and answers", answers[0])
bench.tick("B")
print("client is told of z:", bench.outcome.get("z"), "which B alone holds")
verdict("z" in bench.outcome, "a snapshot that failed to load was counted as a copy of commands that one node holds")
