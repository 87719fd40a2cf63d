"""Everything that depends on PySyncObj's private names: one class, one patched global, one list.

Used of the library (0.3.17, pinned): roles, terms and the hard state, elections by vote, and the follower's handling of
an append. Replaced: the journal, the transport, the sending of appends, match indexes and the commit rule of Raft 5.4.2
(`progress.py`, `Core.advance`: the library looks at every entry in between), apply, compaction and snapshots (off), its
election timer (ours decides when it stands), forwarding (off).

`RELIED_ON` names every private attribute and method, with the hash of each method's source upstream (`RUN_BELOW`: of
what those run in turn): a test fails with a list when any of them changes. `Any` and ignores live here because the
library is untyped.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pysyncobj.syncobj as upstream
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.journal import Journal as StockJournal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from raftmem.errors import Corrupt, Stop
from raftmem.raft.log.journal import Journal
from raftmem.storage.log.contract import LogEntry

VERSION: Final = "0.3.17"
FOLLOWER: Final = 0
CANDIDATE: Final = 1
LEADER: Final = 2

#: private name -> sha256 of the upstream source for methods (called or overridden here), None for plain attributes
RELIED_ON: Final[dict[str, str | None]] = {
    "__applyLogEntries": "073db677773b5a2dddf17cc51f84ac8803ed456da0f0011e15240d6bd1600684",
    "__connectedNodes": None,
    "__generateRaftTimeout": "92ed37d3620e781a15680bc5af8a1983a2c265c42aef4322d403001319bbb1a7",
    "__getEntries": "e29c4b33293b21018d1124c7e5835748c4c8092f7ce4af9e86f24633ccec7e0e",
    "__lastResponseTime": None,
    "__loadDumpFile": "ec66e83905de703bcead2735be875e71870a6bbe271c854867611e555a90bbba",
    "__onMessageReceived": "ddfe34b6c02821795146dc533fb7c0fcf6574a082a68a227b4c885c9e14be206",
    "__otherNodes": None,
    "__raftCommitIndex": None,
    "__raftCurrentTerm": None,
    "__raftElectionDeadline": None,
    "__raftLastApplied": None,
    "__raftLeader": None,
    "__raftMatchIndex": None,
    "__raftNextIndex": None,
    "__raftState": None,
    "__sendAppendEntries": "9cb9073128c392fa9e5efc4691420ba435bfafb4c74e83a34f931fa16aa760c6",
    "__setCurrentTerm": "0ad5bf456ac06bd314d2dbc8991c6b6240e63bf33aaa975620aa84a7079d5f39",
    "__setState": "2c1f239f7bd79b3945b63418b4f564c40c07893d3cf747af2ddd5c6a045093a8",
    "__tryLogCompaction": "c2f8a0ec14cc7312e3ff41a16cde9be71ff0f908bd66aec9e2673d97a775be2c",
    "__votedForNodeId": None,
}

#: what runs on our behalf without being named here: its text was read too, and must not change unseen
RUN_BELOW: Final[dict[str, str]] = {
    "__callErrCallback": "6037c14ef64c2763bde217077685c080da70a6f0a7823940793ac0e9e70e78ed",
    "__connectedToAnyone": "acd40e9e3ac6c4cc1f4428e725fb008e06ee9bfce0240dc104fc04fa5eb1b4e5",
    "__deleteEntriesFrom": "3b23c411bb903d365575a2783d536e04c23bcf11cb7ddffa763915b4efd3831b",
    "__getCurrentLogIndex": "e5af22ca246686bdc5fd2bd9c5e34eac491a571ca9ed3dae493a232cacbacb7a",
    "__getCurrentLogTerm": "1cb8867e6a13d3976c07506c31d71681bc4921334dda8c5958da5d91f2e939ac",
    "__onBecomeLeader": "5a3fd97bc17dc1cf3070b007538b6a8d46adb71f0b6523f3922dc953420645e8",
    "__onLeaderChanged": "53b7685e1d897887fe7d32a74e2d02eacba30cc7bf916b1a4dbf100eba8f1ec0",
    "__sendNextNodeIdx": "68aaeefc267b8896bc1074280ac2aa014c3306d9f207949ed945569cef5d114c",
    "__init__": "09df12cd7fd7d7270fee82c1a025acc1f3a68e98dafbad81be467947ab95cbf0",
    "_checkCommandsToApply": "a386a8079361d204f2c11f895416548c432a254671a9114258921c25108a966e",
    "_onTick": "cc9eb08232d005ba4e21a33ec453e5d02fe3537dadebda8571406c57f65a3c37",
    "doTick": "bef78c2ba06d784beb0d5567259afab1a7043d4f8a5d3a565231ed456f57e4f4",
}


class _Voter(Node):  # type: ignore[misc]  # untyped base
    """The library keeps voters in sets: whom it asks first must not depend on the hash seed of a process."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())


class _StockLog(StockJournal):  # type: ignore[misc]  # untyped base
    """Our journal in the library's clothes: positions count from the first index, entries are (bytes, index, term)."""

    def __init__(self, journal: Journal, no_op: Callable[[int], bytes]) -> None:
        self._journal = journal
        self._no_op = no_op

    def add(self, command: bytes | list[LogEntry], idx: int, term: int) -> None:
        if isinstance(command, list):  # what one append brings: the library passes it on unseen
            self._journal.extend(command)
            return
        if len(command) == 1:  # the bare no-op of a new leader: it carries log time like every entry
            command = self._no_op(term)
        self._journal.append(LogEntry(idx, term, command))

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        self._journal.truncate(self._journal.first_index + entryFrom)

    def __getitem__(self, position: int) -> tuple[bytes, int, int]:
        last = self._journal.last
        entry = last if position == -1 else self._journal.entry(self._journal.first_index + position)
        return entry.data, entry.index, entry.term

    def __len__(self) -> int:
        return self._journal.last_index - self._journal.first_index + 1

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        self._journal.set_hard_state(term, votedForNodeId)

    def getCurrentTerm(self) -> int:
        return self._journal.term

    def getVotedForNodeId(self) -> str | None:
        return self._journal.vote

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """The commit index is not kept: it is learnt again from a leader."""

    def getRaftCommitIndex(self) -> int:
        return self._journal.first_index

    def clear(self) -> None:
        raise Stop("the library tried to clear the log")

    def deleteEntriesTo(self, entryTo: int) -> None:
        raise Stop(f"the library tried to compact the log up to position {entryTo}")

    def _destroy(self) -> None:
        """The journal is closed by the one who opened it."""


class _StockTransport(Transport):  # type: ignore[misc]  # untyped base
    """The library's sends are kept for the caller, who sends ours.

    What it has no business to send stops it (obligation no-blind-retry).
    """

    def __init__(self) -> None:
        super().__init__(None, None, [])
        self.asked: list[tuple[str, int, int]] = []
        self.granted = False

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        kind = message["type"]
        if kind == "request_vote":
            self.asked.append((node.id, message["last_log_index"], message["last_log_term"]))
        elif kind == "response_vote":
            self.granted = True
        elif kind != "next_node_idx":  # answered by our own rules instead
            raise Stop(f"the library tried to send {kind!r}")
        return True

    def destroy(self) -> None:
        """Connections belong to the network given from outside."""


class _NoPoller:
    def poll(self, timeout: float) -> None:
        """Messages come from our loop."""

    def subscribe(self, *args: object) -> None:
        """As above."""

    def unsubscribe(self, *args: object) -> None:
        """As above."""


class _LazyEntries:
    """The rest of the log for stock's append, which reads its length and its first entry only."""

    def __init__(self, journal: Journal, start: int) -> None:
        self._journal = journal
        self._start = start

    def __len__(self) -> int:
        return max(0, self._journal.last_index - self._start + 1)

    def __getitem__(self, position: int) -> tuple[bytes, int, int]:
        entry = self._journal.entry(self._start + position)
        return entry.data, entry.index, entry.term


@contextmanager
def _journal_seam(log: _StockLog) -> Iterator[None]:
    """0.3.17 makes its journal through a module global; it is ours while a Core is constructed."""
    stock = upstream.createJournal
    upstream.createJournal = lambda _path: log
    try:
        yield
    finally:
        upstream.createJournal = stock


class Core(SyncObj):  # type: ignore[misc]  # untyped base
    """PySyncObj under our words. Drive it from one thread; it starts no thread and opens no socket.

    `no_op(term)` gives the bytes of a new leader's first entry.
    """

    # declared for the type checkers, the library is untyped
    _SyncObj__raftState: int
    _SyncObj__raftCurrentTerm: int
    _SyncObj__votedForNodeId: str | None
    _SyncObj__otherNodes: set[Node]
    _SyncObj__lastResponseTime: dict[Node, float]
    _SyncObj__raftMatchIndex: dict[Node, int]
    _SyncObj__raftNextIndex: dict[Node, int]
    _SyncObj__setCurrentTerm: Callable[[int, str | None], None]
    _SyncObj__setState: Callable[[int], None]
    _SyncObj__onMessageReceived: Callable[[Node, dict[str, Any]], None]

    def __init__(
        self,
        *,
        node_id: str,
        voters: tuple[str, ...],
        journal: Journal,
        applied: int,
        no_op: Callable[[int], bytes],
    ) -> None:
        self.journal = journal
        self._commit = journal.first_index
        self._self_id = node_id
        self._nodes: dict[str, _Voter] = {}
        conf = SyncObjConf(
            autoTick=False,
            appendEntriesUseBatch=True,
            dynamicMembershipChange=False,
            commandsWaitLeader=False,
            raftMinTimeout=1.0,
            raftMaxTimeout=2.0,
            connectionTimeout=10.0,
            leaderFallbackTimeout=10.0**9,
            logCompactionMinEntries=10**15,
            logCompactionMinTime=10**15,
        )
        self._sent = _StockTransport()
        with _journal_seam(_StockLog(journal, no_op)):
            others = [self._node(voter) for voter in voters if voter != node_id]
            super().__init__(self._node(node_id), others, conf, transport=self._sent)
        self._poller = _NoPoller()
        self._SyncObj__raftLastApplied = applied
        self.raise_commit(applied)

    # --- what we ask ---------------------------------------------------------------------------
    @property
    def role(self) -> int:
        return int(self._SyncObj__raftState)

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def leader(self) -> str | None:
        node = self._SyncObj__raftLeader
        return None if node is None else str(node.id)

    @property
    def vote(self) -> str | None:
        vote: str | None = self._SyncObj__votedForNodeId
        return vote

    @property
    def commit_index(self) -> int:
        return self._commit

    # --- what we do ----------------------------------------------------------------------------
    def advance(self, agreed: int) -> None:
        """A majority has entry `agreed` on disk: if of this term, it is committed, and all before it (Raft 5.4.2).

        The caller has checked that this is the leader.
        """
        if agreed > self._commit and self.journal.term_at(agreed) == self.term:
            self.raise_commit(agreed)

    def stand(self) -> list[tuple[str, int, int]]:
        """Become a candidate of the next term and vote for oneself: (voter, last index, last term) of each request."""
        self._sent.asked = []
        self._SyncObj__connectedNodes = set(self._SyncObj__otherNodes)
        self._SyncObj__raftElectionDeadline = -1.0
        self.doTick(0)
        return self._sent.asked

    def propose(self, data: bytes) -> int:
        """Append an entry of the current term; its index. The caller has checked that this is the leader."""
        index = self.journal.last_index + 1
        self.journal.append(LogEntry(index, self.term, data))
        return index

    def adopt(self, term: int) -> None:
        """A higher term was seen: follow it, knowing no leader (obligation learn-terms)."""
        self._SyncObj__setCurrentTerm(term, None)
        self.follow_nobody()

    def follow_nobody(self) -> None:
        """Step down, or forget a leader that is not heard."""
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = None

    def raise_commit(self, index: int) -> None:
        """Commit up to a verified index, as far as it is durable here."""
        self._SyncObj__raftCommitIndex = index

    def set_applied(self, index: int) -> None:
        self._SyncObj__raftLastApplied = index

    def set_voters(self, voters: Iterable[str]) -> None:
        """Count votes and copies of these from now on; the library counts this replica among them without asking."""
        others: set[Node] = {self._node(voter) for voter in voters if voter != self._self_id}
        for node in others - self._SyncObj__otherNodes:
            self._SyncObj__raftMatchIndex[node] = 0
            self._SyncObj__raftNextIndex[node] = self.journal.last_index + 1
            self._SyncObj__lastResponseTime[node] = 0.0
        self._SyncObj__otherNodes = others

    def _node(self, node_id: str) -> _Voter:
        """One object a replica, for ever: the library compares and hashes them."""
        return self._nodes.setdefault(node_id, _Voter(node_id))

    # --- messages, already judged by our rules ---------------------------------------------------
    def deliver_append(self, leader: str, *, term: int, kept: int, entries: list[LogEntry], commit: int) -> None:
        """An append that fits: `kept` is an index both logs agree on; a tail after it goes if there are entries."""
        if not entries:
            kept = self.journal.last_index  # nothing to add: nothing may be cut either
        self._receive(
            leader,
            {
                "type": "append_entries",
                "term": term,
                "commit_index": commit,
                "prevLogIdx": kept,
                "prevLogTerm": self.journal.term_at(kept),
                "entries": [(entries, entries[-1].index, entries[-1].term)] if entries else [],
            },
        )

    def deliver_vote_request(self, candidate: str, *, term: int, last_index: int, last_term: int) -> bool:
        """Hand the library a request. True: this replica votes for the candidate; the caller answers."""
        self._sent.granted = False
        self._receive(
            candidate,
            {"type": "request_vote", "term": term, "last_log_index": last_index, "last_log_term": last_term},
        )
        return self._sent.granted

    def deliver_vote(self, voter: str, *, term: int) -> None:
        """One vote; the caller counts each voter once (obligation vote-set)."""
        self._receive(voter, {"type": "response_vote", "term": term})

    def _receive(self, sender: str, message: dict[str, Any]) -> None:
        self._SyncObj__onMessageReceived(self._node(sender), message)

    # --- what the library finds instead of its own --------------------------------------------------
    def _set_commit(self, index: int) -> None:
        """Obligation durable-commit: never past what is durable here, and never back.

        A leader's own copy counts only as far as it is durable, so what the majority rule says of `index` holds for
        the lower, durable one only if that is of its term too (Raft 5.4.2, figure 8).
        """
        reached = min(index, self.journal.durable_index)
        if reached < index and self.role == LEADER and self.journal.term_at(reached) != self.term:
            return
        self._commit = max(self._commit, reached)

    _SyncObj__raftCommitIndex = property(lambda self: self._commit, lambda self, index: self._set_commit(index))

    def _SyncObj__applyLogEntries(self) -> bool:
        return False  # applied in batches by the driver

    def _SyncObj__sendAppendEntries(self) -> None:
        """Sent by the driver, with flow control and rounds."""

    def _SyncObj__getEntries(
        self, fromIDx: int | None, count: int | None = None, maxSizeBytes: int | None = None
    ) -> list[tuple[bytes, int, int]] | _LazyEntries:
        if fromIDx is None or not self.journal.first_index <= fromIDx <= self.journal.last_index:
            return []
        if count is None:
            return _LazyEntries(self.journal, fromIDx)
        return [(e.data, e.index, e.term) for e in self.journal.read(fromIDx, fromIDx + count, maxSizeBytes)]

    def _SyncObj__generateRaftTimeout(self) -> float:
        return math.inf  # it stands when `stand` says so

    def _SyncObj__tryLogCompaction(self) -> None:
        """Off: the log is compacted by us or not at all."""

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:
        raise Corrupt("snapshot", f"the library tried to load a dump (clear journal: {clearJournal})")
