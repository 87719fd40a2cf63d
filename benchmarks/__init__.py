"""raftmem measured beside etcd in the same run: `python -m benchmarks --help`, `docs/performance.md`.

Not part of the product and imported by nobody else. The rule: whatever is compared is driven by the same load
generator, with values of the same size, in turns (A B A B), on the same machine in the same run; what is reported of a
comparison is the median of the ratios of the rounds, never a ratio of bests.
"""
