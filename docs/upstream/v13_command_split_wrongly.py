"""A large command is cut by the length of its pickle and finished by the length of the command."""

import pickle

from bench import Bench, verdict

BATCH = 2**16  # appendEntriesBatchSizeBytes, the default
failed = 0
for value in ("x" * (2 * BATCH - 60), "é" * (BATCH * 3 // 4)):
    bench = Bench()
    bench.elect("A", "B")
    bench.settle("A", "BC")
    bench.add("A", value)
    bench.tick("A", "A")
    link = bench.wire["A", "B"]
    parts = [(m["transmission"], len(m["data"])) for m in link if "transmission" in m]
    print(f"a command of {len(value.encode())} bytes travels as", parts)
    raised = []
    while link:
        try:
            bench.deliver("A", "B", 1)
        except (EOFError, ValueError, pickle.UnpicklingError) as error:
            raised.append(type(error).__name__)
    print("raised while B takes them:", raised, "then B holds", bench.log("B")[-1])
    failed += len(raised)
verdict(failed > 0, "the follower decodes a command before its last piece has come")
