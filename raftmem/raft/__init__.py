"""Consensus: PySyncObj 0.3.17 made safe. The only folder that imports pysyncobj (docs: consensus obligations).

Reading order: `quarantine` (what is taken from the library), `journal` and `writer` (what is on disk, and when),
`rules` and `membership` (obligations as pure functions), `election`, `voting`, `rounds`, `leadership` and `tenure`
(one leader in one term), `appends` and `installing` (a follower), `shipping` and `compacting` (snapshots), `requests`
and `steward` (what is asked of a leader), `inbox`, `consensus` (which puts them together). The network stands beside
it: `frames`, `wire`, `peers`.
"""
