"""An empty data folder becomes a new replica of a running group: `raftmem serve --join URL`.

A member is asked over its peer port which group it belongs to: only with the group's secret or a certificate does it
answer. The folder gets its identity then, and the group is asked, over REST, to take it in; then its log gets a first
entry at index 0: a membership without voters, so that it never stands and is sent everything else by the leader. A run
that is cut short goes on where it was, under the same ids. A folder that is a member's already is left alone.

It refuses another group than the one that the settings name, and timing that differs from the group's. The rule that
must hold: the folder is ready only when the group has taken it in and the first entry is on disk.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import httpx
from msgspec import Meta, Struct

from raftmem.client.plan import Reading, get, parser, write
from raftmem.client.thread_driver import BlockingTime, SystemTime
from raftmem.errors import BadRequest, FolderRefused, NoLeader, WrongState
from raftmem.lifecycle.asked_group import GROUP_S, PAUSE_S, AskedGroup
from raftmem.lifecycle.group_greeting import ask_members
from raftmem.lifecycle.peer_credentials import find, require
from raftmem.model import codec
from raftmem.model.addresses import is_unspecified, split_address
from raftmem.model.commands import Members
from raftmem.raft.transport.frames import Hello
from raftmem.runtime.interfaces import Randomness
from raftmem.settings import Settings, check_timing
from raftmem.storage.folder import Folder, open_folder, read_identity
from raftmem.storage.log.contract import Append, HardState, LogEntry
from raftmem.storage.log.store import SegmentLogStore

log = logging.getLogger("raftmem.joining")
Greet = Callable[[Sequence[tuple[str, str]], str], Hello]
_Positive = Annotated[int, Meta(ge=1)]


class _Seen(Struct, frozen=True):
    """A member, in `GET /v1/cluster`."""

    id: str
    peer_url: str
    rest_url: str


class _Cluster(Struct, frozen=True):
    """The part of `GET /v1/cluster` that a new replica needs."""

    cluster_id: Annotated[str, Meta(min_length=1)]
    members: list[_Seen]


class _Group(Struct, frozen=True):
    """The part of the reply to `POST /v1/cluster/members` that a new replica needs."""

    cluster_id: str
    incarnation: _Positive
    election_timeout_ms: _Positive
    clock_drift_ppm: Annotated[int, Meta(ge=0)]


class _Taken(Struct, frozen=True):
    cluster: _Group


_cluster: Final = parser(_Cluster)
_taken: Final = parser(_Taken)


def prepare_joining(
    settings: Settings,
    *,
    randomness: Randomness,
    transport: httpx.BaseTransport | None = None,
    time: BlockingTime | None = None,
    greet: Greet | None = None,
) -> None:
    """Make `settings.data` the folder of a new member, if `settings.join` says so and it is not one yet. Blocking.

    `greet(members, cluster id)`: the greeting of one of (id, peer address), as `group_greeting.ask_members`.
    Raises: NoLeader when the group did not answer in time, WrongState when it refuses, FolderRefused, BadRequest.
    """
    if settings.join is None:
        return
    if _is_ready(settings.data):
        log.warning("%s is a member's folder already: it goes on in its group, and join is ignored", settings.data)
        return
    clock = time or SystemTime()
    greet = greet or _greeting(settings, randomness)
    group = AskedGroup(settings.join, settings.node_id, transport, clock, randomness)
    try:
        cluster = group.ask(get("/v1/cluster", _cluster, reading=Reading(pinned=True)))
        if settings.cluster_id not in (None, cluster.cluster_id):
            raise FolderRefused(
                f"{settings.join} is of cluster {cluster.cluster_id}, "
                f"not {settings.cluster_id}; check join and cluster_id"
            )
        addresses = _advertised(settings, cluster)
        greeting = _greeted(settings, cluster, greet, clock)
        folder_id = randomness.bytes(8).hex()
        folder = open_folder(
            settings.data,
            node_id=settings.node_id,
            cluster_id=cluster.cluster_id,
            folder_id=folder_id,
            birth=randomness.bytes(8).hex(),
            joining=True,
        )
        try:
            _enter(settings, folder, group, greeting, addresses, is_new=folder.identity.folder_id == folder_id)
        finally:
            folder.close()
    finally:
        group.close()


def _is_ready(path: Path) -> bool:
    identity = read_identity(path)
    return identity is not None and identity.ready


def _greeting(settings: Settings, randomness: Randomness) -> Greet:
    """Raises: BadRequest when this replica has no secret and no certificate."""
    credentials = require(find(settings))

    def greet(members: Sequence[tuple[str, str]], cluster_id: str) -> Hello:
        return ask_members(
            members, me=settings.node_id, cluster_id=cluster_id, credentials=credentials, randomness=randomness
        )

    return greet


def _greeted(settings: Settings, cluster: _Cluster, greet: Greet, time: BlockingTime) -> Hello:
    """The greeting of a member that has proved itself: it describes the group.

    Raises: NoLeader, BadRequest, FolderRefused.
    """
    members = [(member.id, member.peer_url) for member in cluster.members if member.id != settings.node_id]
    until = time.now() + GROUP_S
    while True:
        try:
            greeting = greet(members, cluster.cluster_id)
            break
        except NoLeader:
            if time.now() + PAUSE_S > until:
                raise
            time.sleep(PAUSE_S)
    if greeting.cluster_id != cluster.cluster_id:
        raise FolderRefused(
            f"{settings.join} says that it is of cluster {cluster.cluster_id}, its peer port of {greeting.cluster_id}"
        )
    check_timing(settings, election_timeout_ms=greeting.election_timeout_ms, clock_drift_ppm=greeting.clock_drift_ppm)
    return greeting


def _enter(
    settings: Settings,
    folder: Folder,
    group: AskedGroup,
    greeting: Hello,
    addresses: tuple[str, str],
    *,
    is_new: bool,
) -> None:
    """Ask the group to take the folder in. `is_new`: this run has begun the folder, so no group was asked before."""
    peer_url, rest_url = addresses
    body = {
        "id": settings.node_id,
        "peer_url": peer_url,
        "rest_url": rest_url,
        "folder_id": folder.identity.folder_id,
    }
    try:
        taken = group.ask(write("POST", "/v1/cluster/members", _taken, body, keyed=False)).cluster
    except WrongState as error:
        if group.unsure or not is_new:  # the id may be bound to this folder: without it, it would be lost for good
            raise WrongState(
                f"{error}; {folder.path} stays {settings.node_id}'s, an earlier request may have been taken: "
                "start it again, or delete the folder to join under another id"
            ) from error
        folder.abandon()  # the group does not know this folder, so the next attempt may be under another id
        raise
    if (taken.cluster_id, taken.incarnation) != (greeting.cluster_id, greeting.incarnation):
        raise FolderRefused(f"{settings.join} names members of different groups; name those of one")
    check_timing(settings, election_timeout_ms=taken.election_timeout_ms, clock_drift_ppm=taken.clock_drift_ppm)
    _write_first_entry(folder, taken)
    folder.finish_bootstrap(genesis=greeting.genesis.hex(), incarnation=taken.incarnation)
    log.info("%s was taken into %s/%d as a learner", settings.node_id, taken.cluster_id, taken.incarnation)


def _advertised(settings: Settings, cluster: _Cluster) -> tuple[str, str]:
    """Return the (peer, REST) address to be known by: the settings' own, or the one of `raftmem member add` where the
    settings only say "listen everywhere". Raises: BadRequest."""
    known = next((member for member in cluster.members if member.id == settings.node_id), None)
    peer_url, rest_url = settings.peer, settings.rest_url
    if is_unspecified(split_address(peer_url, name="peer")[0]):
        if known is None:
            raise BadRequest(
                f"peer = {peer_url} names no address that the other replicas reach; set one, or run "
                f"`raftmem member add {settings.node_id} --peer HOST:PORT --rest URL` first",
                parameter="peer",
            )
        peer_url = known.peer_url
    if is_unspecified(urlsplit(rest_url).hostname or ""):
        if known is None:
            raise BadRequest(f"rest_url = {rest_url} names no address that clients reach; set it", parameter="rest_url")
        rest_url = known.rest_url
    return peer_url, rest_url


def _write_first_entry(folder: Folder, group: _Group) -> None:
    nobody = Members(group.cluster_id, group.incarnation, (), group.election_timeout_ms, group.clock_drift_ppm)
    store = SegmentLogStore(folder.log_path)
    try:
        first = LogEntry(0, 0, codec.membership(nobody, time=0, wall_ms=0))
        store.commit([HardState(0, None), Append((first,))])
    finally:
        store.close()
