"""Assembly: settings -> stores -> replica -> consensus -> service -> HTTP, and the way back. It alone constructs.

Order of the start: sockets (a busy port is told at once), joining a group if asked to, what is on disk, vectors,
consensus, peers, REST. A stop goes the other way: nothing new is taken, what is under way ends, then the state is
synced and marked clean. A kill at any instant needs none of that.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import uvloop

from raftmem import __version__
from raftmem.api.app import create_app
from raftmem.api.http.settings import ApiSettings
from raftmem.errors import BadRequest, NoSpace, Removed, Stop
from raftmem.lifecycle.join import prepare_joining
from raftmem.lifecycle.open_folder import open_stores
from raftmem.lifecycle.peer_credentials import check, open_credentials
from raftmem.model.commands import Members
from raftmem.raft.assembly import Seams, assemble
from raftmem.raft.consensus import Consensus
from raftmem.raft.interfaces import Timing
from raftmem.raft.transport.frames import MAGIC, PROTOCOL_VERSION, Hello
from raftmem.raft.transport.peer_set import PeerEvents, PeerSet
from raftmem.replica.apply_loop import Replica
from raftmem.replica.snapshot_keeper import SnapshotKeeper
from raftmem.replica.snapshot_policy import SnapshotPolicy, SnapshotThresholds
from raftmem.runtime import log_lines
from raftmem.runtime.system import AsyncioLoop, SystemClock, SystemRandomness, ThreadExecutor
from raftmem.server import descriptors
from raftmem.server.server import HttpServer
from raftmem.service.expiry import Expiry
from raftmem.service.replica_service import ReplicaService
from raftmem.settings import Settings, split_address
from raftmem.storage.known_births import KnownBirths
from raftmem.storage.state.contract import StateReader
from raftmem.storage.vectors.index import FaissVectorIndex

log = logging.getLogger("raftmem.node")
DRAIN_MS: Final = 3_000  # how long a stop waits for writes that are under way
GC_THRESHOLDS: Final = (20_000, 20, 50)  # requests make no cycles: look for some less often
SWITCH_SECONDS: Final = 0.0001  # how long the thread of the log waits for a busy loop; the default is 5 ms


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Raises: Stop when the replica cannot go on; BadRequest when an address cannot be listened on.
    """
    log_lines.configure(settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.disable()  # until it serves: a start only builds what stays, and every look at that would be in vain
    uvloop.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    check(settings)
    rest, peer = _listen(settings.rest, "rest"), _listen(settings.peer, "peer")
    if settings.join is not None:
        await asyncio.to_thread(prepare_joining, settings, randomness=SystemRandomness())
    node = Node(settings)
    try:
        await node.serve(rest, peer)
    finally:
        await node.close()


def _listen(address: str, name: str) -> socket.socket:
    host, port = split_address(address, name=name)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(target)
        listening.listen(2048)
    except OSError as error:
        raise BadRequest(
            f"cannot listen on {address}: {error.strerror or error}; stop what uses it, or set another {name} address",
            parameter=name,
        ) from error
    listening.setblocking(False)
    return listening


class Node:
    """One replica, assembled. Construct on the loop's thread, inside the loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._descriptors = descriptors.raise_limit()
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._failure: Stop | None = None
        self._randomness = SystemRandomness()
        self._clock = SystemClock()
        self._disks = open_stores(settings, self._randomness, self._clock)
        members = self._disks.members
        everyone = {member.id for member in (*members.voters, *members.learners)}
        self._credentials = open_credentials(
            settings, is_alone=everyone == {settings.node_id}, randomness=self._randomness
        )
        self._timing = Timing(
            members.election_timeout_ms / 1000, settings.heartbeat_ms / 1000, members.clock_drift_ppm / 1e6
        )
        self._writer = ThreadExecutor("log", self._loop)
        self._chores = ThreadExecutor("vectors", self._loop)
        self._pool = ThreadPoolExecutor(settings.search_threads, thread_name_prefix="search")
        self._copier = ThreadExecutor("snapshots", self._loop)
        state = self._disks.state
        self._vectors = FaissVectorIndex.open(
            self._disks.folder.vectors_path, state.read(), executor=self._chores, snapshot=self._private_reader
        )
        self.replica = Replica(state, self._vectors)
        if self.replica.applied == 0 and self._disks.first.index == 1:
            self.replica.apply([self._disks.first])
        self._acquaintances = KnownBirths(self._disks.folder.path / "acquaintances.json")
        self.peers = self._make_peers()
        self.snapshots = self._make_snapshots()
        self.consensus = self._make_consensus()
        self.expiry = Expiry(
            consensus=self.consensus,
            replica=self.replica,
            loop=AsyncioLoop(self._loop),
            randomness=self._randomness,
        )
        self.housekeeping = self._make_housekeeping()
        self.service = self._make_service()

    # --- parts ---------------------------------------------------------------------------------------
    def _private_reader(self) -> StateReader:
        """Raises: NoSpace while what was applied finds no room to be settled; Stop, which ends this replica."""
        what = "what was applied has no room on this disk, and this needs it there: free some, or ask another replica"
        if self.consensus.apply_queue.is_paused and not self.replica.is_settled:
            raise NoSpace(what)
        try:
            return self.replica.private_reader()
        except OSError as error:
            raise NoSpace(f"{what} ({error})") from error
        except Stop as error:
            self.consensus.fail(error)
            raise

    def _make_peers(self) -> PeerSet:
        settings, identity, members = self._settings, self._disks.folder.identity, self._disks.members
        known = self._acquaintances
        return PeerSet(
            me=Hello(
                magic=MAGIC,
                protocol=PROTOCOL_VERSION,
                cluster_id=members.cluster_id,
                incarnation=self._disks.incarnation,
                node_id=settings.node_id,
                to_node_id="",
                folder_id=identity.folder_id,
                birth=identity.birth,
                genesis=bytes.fromhex(identity.genesis),
                election_timeout_ms=members.election_timeout_ms,
                clock_drift_ppm=members.clock_drift_ppm,
                rest_url=settings.rest_url,
                version=__version__,
            ),
            events=PeerEvents(
                receive=lambda node, data: self.consensus.receive(node, data),
                connected=lambda node: self.consensus.connected(node),
                disconnected=lambda node: self.consensus.disconnected(node),
                removed=self._removed,
            ),
            known_birth=known.get,
            remember=known.remember,
            randomness=self._randomness,
            addresses={voter.id: split_address(voter.peer, name=f"peer of {voter.id}") for voter in settings.members},
            tls=self._credentials.tls,
            secret=self._credentials.secret,
        )

    def _make_snapshots(self) -> SnapshotKeeper:
        return SnapshotKeeper(
            store=self._disks.snapshots,
            replica=self.replica,
            executor=self._copier,
            loop=AsyncioLoop(self._loop),
            clock=self._clock,
            members_at=lambda index: self.consensus.journal.membership_at(index),
            holds=lambda meta: self.consensus.journal.term_at(meta.index) == meta.term,
            vectors=lambda reader: FaissVectorIndex.build(
                self._disks.folder.vectors_path, reader, executor=self._chores, snapshot=self._private_reader
            ),
            on_failed=self._fail,
        )

    def _make_consensus(self) -> Consensus:
        def tell(in_force: Members, committed: Members) -> None:
            self.peers.set_members(in_force)
            self.peers.set_removed(committed.removed)

        identity = self._disks.folder.identity

        def birth_of(node: str) -> str | None:
            return identity.birth if node == identity.node_id else self._acquaintances.get(node)

        return assemble(
            Seams(
                node_id=self._settings.node_id,
                store=self._disks.log,
                applied=self.replica.applied,
                apply=self.replica.apply,
                settle=self.replica.settle,
                on_stop=self._fail,
                timing=self._timing,
                loop=AsyncioLoop(self._loop),
                clock=self._clock,
                randomness=self._randomness,
                executor=self._writer,
                network=self.peers,
                snapshots=self.snapshots,
                on_members=tell,
                birth_of=birth_of,
                append_bytes_max=self._settings.append_bytes_max,
            )
        )

    def _make_housekeeping(self) -> SnapshotPolicy:
        settings = self._settings
        return SnapshotPolicy(
            policy=SnapshotThresholds(
                entries=settings.snapshot_entries,
                bytes=settings.snapshot_bytes,
                age_seconds=settings.snapshot_age_s,
                keep_entries=settings.log_keep_entries,
            ),
            replica=self.replica,
            snapshots=self.snapshots,
            compact=self.consensus.compact,
            loop=AsyncioLoop(self._loop),
            clock=self._clock,
        )

    def _make_service(self) -> ReplicaService:
        def greeting(node: str) -> tuple[str, str] | None:
            hello = self.peers.greeting(node)
            return None if hello is None else (hello.rest_url, hello.version)

        return ReplicaService(
            incarnation=self._disks.incarnation,
            consensus=self.consensus,
            replica=self.replica,
            space=self._disks.space,
            expiry=self.expiry,
            loop=AsyncioLoop(self._loop),
            clock=self._clock,
            randomness=self._randomness,
            pool=self._pool,
            snapshot=self._private_reader,
            snapshots=self.snapshots,
            greeting=greeting,
            version=__version__,
        )

    # --- life ------------------------------------------------------------------------------------------
    async def serve(self, rest: socket.socket, peer: socket.socket) -> None:
        """Until a signal or a failure. Raises: the Stop that ended it."""
        settings = self._settings
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self.consensus.start()
        await self.peers.start(peer)
        self.expiry.start()
        self.housekeeping.start()
        app = create_app(
            self.service,
            settings=ApiSettings(
                hosts=settings.hosts(),
                any_address=settings.answers_any_address(),
                cors_origins=settings.cors_origins,
                consistency=settings.default_consistency,
                overrides=settings.overrides,
            ),
            group_secret=self._group_secret(),
        )
        app.watch_loop()
        most = descriptors.connections_max(self._descriptors)
        server = HttpServer(app, drain_seconds=DRAIN_MS // 1000, connections_max=most)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        gc.enable()
        serving = asyncio.create_task(server.serve(sockets=[rest]))
        log.info(
            "%s serves %s, peers on %s, %s, vectors %s",
            settings.node_id, settings.rest_url, settings.peer,
            f"applied index {self.replica.applied} of {self._disks.log.last_index()}", self._vectors.origin,
        )  # fmt: skip
        await self._stopping.wait()
        log.info("%s stops", settings.node_id)
        await self.service.close(DRAIN_MS if self._failure is None else 0)
        server.leave(drains=self._failure is None)
        await serving
        if self._failure is not None:
            raise self._failure

    def _group_secret(self) -> bytes:
        """For cursors, the same on every replica. A group that knows itself by certificates alone has only its genesis,
        which REST never tells."""
        secret = self._credentials.secret
        return bytes.fromhex(self._disks.folder.identity.genesis) if secret is None else secret.derive("cursors")

    def _fail(self, error: Stop) -> None:
        self._failure = self._failure or error
        self._stopping.set()

    def _removed(self, node: str, reason: str) -> None:
        """A member says that the group has removed this replica."""
        self._fail(Removed(f"{self._settings.node_id} serves no more, says {node}: {reason}"))

    async def close(self) -> None:
        """Let go of everything, in the order that keeps what is on disk whole."""
        self.housekeeping.stop()
        self.consensus.stop()
        unsettled = self._settle_last()
        await self.peers.stop()
        for executor in (self._writer, self._copier, self._chores):
            await asyncio.to_thread(executor.close)
        await asyncio.to_thread(self._pool.shutdown)
        clean = self._failure is None or isinstance(self._failure, Removed)
        if isinstance(self._failure, Removed):
            self._disks.folder.mark_removed()
        elif clean and unsettled is None:
            await asyncio.to_thread(self.replica.vectors.save)
        self._disks.close(clean=clean and unsettled is None)
        if clean and unsettled is not None:
            raise unsettled

    def _settle_last(self) -> OSError | Stop | None:
        """Why what was applied last is not settled, if it is not; it is applied again at the next start. First of all:
        a copy may wait for the transaction that is open."""
        try:
            self.replica.settle()
        except (OSError, Stop) as error:
            return error
        return None
