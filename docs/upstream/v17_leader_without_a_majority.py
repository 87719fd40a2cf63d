"""A leader that hears nobody goes on leading for 30 seconds, while the others have long elected another."""

from bench import Bench, verdict

bench = Bench()
bench.elect("A", "B")
bench.settle("A", "BC")
cut_at, led_s = bench.now, 0.0
bench.elect("B", "C")  # nothing reaches A, and nothing leaves it
bench.add("B", "new")
bench.settle("B", "C")
print(f"after {bench.now - cut_at:4.1f} s B leads:", bench.leads("B"), "values:", bench.nodes["B"].values)
while bench.leads("A"):
    led_s = bench.now - cut_at
    bench.tick("A", after_s=1.0)
print(f"after {led_s:4.1f} s A still leads, values:", bench.nodes["A"].values)
verdict(led_s > 20, "a leader without a majority leads on for 30 seconds")
