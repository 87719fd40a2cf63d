"""raftmem measured beside etcd in the same run: `python -m benchmarks --help`, `docs/performance.md`.

It is no part of the product, and nothing imports it. The rule: systems that are compared get the same load generator,
values of the same size, and turns (A B A B) on the same machine in the same run. A comparison is reported as the median
of the ratios of the rounds, never as a ratio of bests.
"""
