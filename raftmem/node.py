"""Assembly: settings -> stores -> replica -> consensus -> service -> HTTP, and the way back. It alone constructs.

Order of the start: sockets (a busy port is told at once), folder lock, log, state checked against the log, vectors,
consensus, peers, REST. A stop goes the other way: nothing new is taken, what is under way ends, then the state is
synced and marked clean. A kill at any instant needs none of that.
"""

import asyncio
import gc
import hashlib
import logging
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import uvloop

from raftmem import __version__, codec
from raftmem.api.app import create_app
from raftmem.api.settings import ApiSettings
from raftmem.clock import SystemClock
from raftmem.commands import Member, Members
from raftmem.errors import BadRequest, Corrupt, Stop
from raftmem.expiry import Expiry
from raftmem.http_server import HttpServer
from raftmem.local_service import LocalService
from raftmem.raft.consensus import Consensus
from raftmem.raft.frames import MAGIC, PROTOCOL_VERSION, Hello
from raftmem.raft.peers import PeerEvents, Peers
from raftmem.raft.timing import Timing
from raftmem.replica import Replica
from raftmem.runtime import AsyncioLoop, SystemRandomness, ThreadExecutor
from raftmem.settings import Settings, split_address
from raftmem.storage.acquaintances import Acquaintances
from raftmem.storage.agreement import check_open
from raftmem.storage.contracts import Append, LogEntry, LogStore
from raftmem.storage.folder import Folder, open_folder
from raftmem.storage.log import LmdbLogStore
from raftmem.storage.space import Space
from raftmem.storage.state import LmdbStateStore
from raftmem.storage.vectors import FaissVectorIndex

log = logging.getLogger("raftmem.node")
DRAIN_MS: Final = 3_000  # how long a stop waits for writes that are under way
GC_THRESHOLDS: Final = (20_000, 20, 50)  # requests make no cycles: look for some less often
SWITCH_SECONDS: Final = 0.0005  # a synced commit beside a busy loop: 5.6 ms at the default of 5 ms, under 1 ms here


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Raises: Stop when the replica cannot go on; BadRequest when an address cannot be listened on.
    """
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    rest, peer = _listen(settings.rest, "rest"), _listen(settings.peer, "peer")
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
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._failure: Stop | None = None
        self._randomness = SystemRandomness()
        self._clock = SystemClock()
        self._folder = open_folder(
            settings.data,
            node_id=settings.node_id,
            cluster_id=settings.cluster_id,
            folder_id=settings.folder_id or self._randomness.bytes(8).hex(),
            birth=self._randomness.bytes(8).hex(),
            bootstrap=settings.bootstrap,
        )
        self._log = LmdbLogStore(self._folder.log_path, map_bytes=settings.map_bytes)
        _bootstrap(self._folder, self._log, settings)
        _verify(self._log)
        self._first = self._log.read(1, 2)[0]
        self.members = _members(self._first)
        self._state = LmdbStateStore(
            self._folder.state_path, mark=self._folder.state_mark(), map_bytes=settings.map_bytes
        )
        check_open(self._log, self._state, path=str(self._folder.path))
        self._writer = ThreadExecutor("log", self._loop)
        self._chores = ThreadExecutor("vectors", self._loop)
        self._pool = ThreadPoolExecutor(settings.search_threads, thread_name_prefix="search")
        self._vectors = FaissVectorIndex.open(
            self._folder.vectors_path,
            self._state.read(),
            executor=self._chores,
            snapshot=self._state.read_private,
        )
        self.replica = Replica(self._state, self._vectors)
        if self.replica.applied == 0:
            self.replica.apply([self._first])
        self.peers = self._make_peers()
        self.consensus = self._make_consensus()
        self.service = self._make_service()

    # --- parts ---------------------------------------------------------------------------------------
    def _make_peers(self) -> Peers:
        settings = self._settings
        voters = {member.id: member for member in self.members.voters}
        if settings.node_id not in voters:
            raise Corrupt(str(self._folder.path), f"names {', '.join(voters)} as its voters, not {settings.node_id}")
        known = Acquaintances(self._folder.path / "acquaintances.json")
        given = {voter.id: voter.peer for voter in settings.members}  # addresses may change, the membership not

        return Peers(
            me=Hello(
                magic=MAGIC,
                protocol=PROTOCOL_VERSION,
                cluster_id=self.members.cluster_id,
                incarnation=self.members.incarnation,
                node_id=settings.node_id,
                to_node_id="",
                folder_id=self._folder.identity.folder_id,
                birth=self._folder.identity.birth,
                bootstrap=hashlib.blake2b(self._first.data, digest_size=32).digest(),
                election_timeout_ms=settings.election_timeout_ms,
                clock_drift_ppm=settings.clock_drift_ppm,
                rest_url=settings.rest_url,
                version=__version__,
            ),
            addresses={
                node: split_address(given.get(node, member.peer_url), name=f"peer of {node}")
                for node, member in voters.items()
                if node != settings.node_id
            },
            events=PeerEvents(
                receive=lambda node, data: self.consensus.receive(node, data),
                connected=lambda node: self.consensus.connected(node),
                disconnected=lambda node: self.consensus.disconnected(node),
            ),
            bound={node: member.folder_id for node, member in voters.items()},
            known_birth=known.get,
            remember=known.remember,
            randomness=self._randomness,
        )

    def _make_consensus(self) -> Consensus:
        settings = self._settings
        return Consensus(
            node_id=settings.node_id,
            voters=tuple(member.id for member in self.members.voters),
            store=self._log,
            applied=self.replica.applied,
            apply=self.replica.apply,
            on_stop=self._fail,
            timing=Timing(
                settings.election_timeout_ms / 1000, settings.heartbeat_ms / 1000, settings.clock_drift_ppm / 1e6
            ),
            loop=AsyncioLoop(self._loop),
            clock=self._clock,
            randomness=self._randomness,
            executor=self._writer,
            network=self.peers,
            append_bytes_max=settings.append_bytes_max,
        )

    def _make_service(self) -> LocalService:
        def greeting(node: str) -> tuple[str, str] | None:
            hello = self.peers.greeting(node)
            return None if hello is None else (hello.rest_url, hello.version)

        return LocalService(
            members=self.members,
            consensus=self.consensus,
            replica=self.replica,
            space=Space(self._folder.path, low_bytes=self._settings.disk_low_bytes),
            clock=self._clock,
            randomness=self._randomness,
            pool=self._pool,
            snapshot=self._state.read_private,
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
        expiry = Expiry(
            consensus=self.consensus,
            replica=self.replica,
            loop=AsyncioLoop(self._loop),
            randomness=self._randomness,
        )
        expiry.start()
        app = create_app(
            self.service,
            settings=ApiSettings(consistency=settings.default_consistency, overrides=settings.overrides),
        )
        server = HttpServer(app, drain_seconds=DRAIN_MS // 1000)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        serving = asyncio.create_task(server.serve(sockets=[rest]))
        log.info(
            "%s serves %s, peers on %s, %s, vectors %s",
            settings.node_id, settings.rest_url, settings.peer,
            f"applied index {self.replica.applied} of {self._log.last_index()}", self._vectors.origin,
        )  # fmt: skip
        await self._stopping.wait()
        log.info("%s stops", settings.node_id)
        await self.service.close(DRAIN_MS if self._failure is None else 0)
        server.should_exit = True
        await serving
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: Stop) -> None:
        self._failure = error
        self._stopping.set()

    async def close(self) -> None:
        """Let go of everything, in the order that keeps what is on disk whole."""
        self.consensus.stop()
        await self.peers.stop()
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._chores.close)
        await asyncio.to_thread(self._pool.shutdown)
        if self._failure is None:
            await asyncio.to_thread(self._vectors.save)
        self._state.close(clean=self._failure is None)
        self._log.close()
        self._folder.close()


def _bootstrap(folder: Folder, store: LogStore, settings: Settings) -> None:
    """The first entry of a new folder's log: the whole membership, the same bytes on every replica."""
    if not folder.is_fresh:
        return
    identity = folder.identity
    voters = tuple(
        Member(voter.id, voter.peer_url, voter.rest_url, voter.folder_id)
        for voter in sorted(settings.voters(), key=lambda voter: voter.id)
    )
    own = next(voter for voter in voters if voter.id == identity.node_id)
    if own.folder_id not in (None, identity.folder_id):
        raise BadRequest(f"members gives {own.id} the folder {own.folder_id}, folder_id is {identity.folder_id}")
    members = Members(identity.cluster_id, 1, voters, settings.election_timeout_ms, settings.clock_drift_ppm)
    if store.last_index() == 0:
        store.commit([Append((LogEntry(1, 0, codec.membership(members, time=0, wall_ms=0)),))])
    folder.finish_bootstrap()


def _verify(store: LmdbLogStore) -> None:
    """Read the whole log once before anything is promised on its word. Raises: Corrupt naming file and index."""
    for index, what in store.verify():
        raise Corrupt(store.path, what, index=index)


def _members(first: LogEntry) -> Members:
    members = codec.decode(first.data, index=1).members
    if members is None:
        raise Corrupt("log", "does not begin with a membership", index=1)
    return members
