"""While its dump is being written, a leader sends empty messages to a follower that needs it, as fast as it can."""

from bench import SEND_S, Bench, verdict
from pysyncobj import SERIALIZER_STATE

state = SERIALIZER_STATE.NOT_SERIALIZING
bench = Bench(serializeChecker=lambda: state)
bench.elect("A", "B")
bench.settle("A", "B")  # C hears nothing
bench.add("A", *"abcdef")
bench.settle("A", "B")
bench.nodes["A"].forceLogCompaction()
bench.tick("A")
state = SERIALIZER_STATE.SUCCESS
bench.tick("A")
state = SERIALIZER_STATE.NOT_SERIALIZING
bench.add("A", "g")
bench.settle("A", "B")
bench.lose("A", "C")
bench.tick("A")
bench.deliver("A", "C")  # C is back, and asks for entries that A no longer has
print("A holds", bench.log("A"), "C holds", bench.log("C"))

bench.nodes["A"].forceLogCompaction()
bench.tick("A")
state = SERIALIZER_STATE.SERIALIZING  # a large dump
bench.deliver("C", "A")
bench.tick("A", "A", "A")
sent = bench.wire["A", "C"]
empty = [message for message in sent if "serialized" in message and message["serialized"] is None]
print(f"in three ticks A sends C {len(empty)} empty messages, if each takes {SEND_S * 1000:.1f} ms")
verdict(len(empty) > 1000, "a leader that serializes spends its ticks sending empty messages")
