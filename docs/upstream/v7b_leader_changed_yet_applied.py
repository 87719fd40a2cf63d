"""A forwarded command that was answered with LEADER_CHANGED is executed all the same."""

from bench import Bench, verdict

bench = Bench()
bench.elect("A", "C")
bench.settle("A", "BC")
bench.add("B", "pay")
bench.tick("B")  # forwards it to A
bench.deliver("B", "A")  # A has it in its queue
bench.elect("B", "")  # B hears nothing for an election timeout, and tells its client
told = bench.outcome["pay"]
print("client is told:", told)
bench.add("B", "pay")  # so the client tries again

bench.deliver("B", "A")  # A is a follower now and waits for a leader, the command with it
bench.deliver("A", "B")
bench.now += 20
bench.elect("A", "C")
bench.settle("A", "BC")
bench.settle("A", "BC")
print("applied:", bench.nodes["C"].values)
verdict(told == (None, "LEADER_CHANGED") and bench.nodes["C"].values.count("pay") == 2, "executed after LEADER_CHANGED")
