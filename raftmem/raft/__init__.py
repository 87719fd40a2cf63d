"""Consensus: of PySyncObj 0.3.17 only roles, terms, vote counts and a follower's append; all else of Raft is ours.

Ours are the journal, the transport, timers, pre-vote, flow control, match and commit indexes, leases, read indexes,
snapshots, membership and transfer. This is the only folder that imports pysyncobj. `DESIGN.md` here is the one-page
manual; `docs/consensus.md` lists the obligations and their proofs.

Reading order: `pysyncobj_core` (what is taken from the library), `log/journal` and `log/writer` (what is on disk, and
when), `rules` and `membership` (obligations as pure functions), `election/timer`, `election/votes`, `leader/rounds`,
`leader/leadership` and `leadership_term` (one leader in one term), `follower/append_handler` and
`follower/snapshot_receiver` (a follower), `leader/snapshot_sender` and `compaction` (snapshots), `requests` and
`learner_promotion` (requests to a leader), `dispatch`, `consensus` (the facade), `assembly` (which makes all parts).
The network stands beside it in `transport`: `frames`, `connection`, `peer_set`.
"""
