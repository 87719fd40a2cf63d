"""Consensus: PySyncObj 0.3.17 made safe. The only folder that imports pysyncobj (docs: consensus obligations).

Reading order: `quarantine` (what is taken from the library), `journal` and `writer` (what is on disk, and when),
`rules` (obligations as pure functions), `election`, `rounds`, `progress`, `consensus` (which puts them together).
"""
