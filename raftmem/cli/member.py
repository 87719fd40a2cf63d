"""`raftmem member` and `raftmem leader`: who is in the group, and who leads it.

A new replica is registered first, as a learner without a vote; started with `serve --join` it is sent the log, and
becomes a voter by itself. Waiting for that is only looking: the group goes on with it when nobody looks.
"""

import time
from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import quote, urlsplit

import typer

from raftmem.cli.cluster import COLUMNS, as_the_leader_sees_it, members_of
from raftmem.cli.exits import CommandFailed
from raftmem.cli.options import given
from raftmem.cli.output import console, print_json, print_table, printable
from raftmem.cli.remote import Answer, Remote
from raftmem.cli.verbs import Read, Row, Write, reads, writes

member = typer.Typer(
    name="member", help="List, add, replace and remove replicas of a running group.", no_args_is_help=True
)
leader = typer.Typer(name="leader", help="Move the leadership of a running group.", no_args_is_help=True)

POLL_S: Final = 0.5
_PATH: Final = "/v1/cluster/members"

Rows = dict[str, Row]  # by id
NewIdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the new replica, never used in this group before.")
]
PeerOption = Annotated[
    str, typer.Option("--peer", metavar="HOST:PORT", help="Address at which the other replicas reach it.")
]
RestOption = Annotated[
    str, typer.Option("--rest", metavar="URL", help="Address at which clients reach it: http://HOST:PORT.")
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it votes, and show its progress.")]
WaitSecondsOption = Annotated[
    float, typer.Option("--wait-s", min=0, help="Longest time to wait; the group goes on with the change by itself.")
]


@reads(member, "list", levels=False)
def list_members(call: Read) -> None:
    """List every replica: leader, follower, or learner (no vote yet)."""
    rows = Group(call.remote).look()
    if call.as_json:
        print_json({"members": list(rows.values())})
    else:
        print_table(COLUMNS, [[row.get(column) for column in COLUMNS] for row in rows.values()])


@writes(member, guarded=False, keyed=False)
def add(
    call: Write,
    member_id: NewIdArgument,
    peer: PeerOption,
    rest: RestOption,
    wait: WaitOption = True,
    wait_s: WaitSecondsOption = 600,
) -> None:
    """Register a new replica. Repeating it is harmless; it takes over other addresses."""
    body: Row = {"id": member_id, "peer_url": peer, "rest_url": rest}
    _register(call, body)
    if wait:
        wait_until(
            Group(call.remote).look,
            lambda rows: _votes(rows, member_id),
            lambda rows: _progress(rows, member_id),
            wait_s,
        )


@writes(member, guarded=False, keyed=False)
def replace(
    call: Write,
    old: Annotated[str, typer.Argument(help="The voter that leaves, dead or alive.")],
    new: Annotated[str, typer.Argument(help="Id of the new replica, never used in this group before.")],
    peer: PeerOption,
    rest: RestOption,
    wait: WaitOption = True,
    wait_s: WaitSecondsOption = 600,
) -> None:
    """Register a new replica in place of one that leaves as soon as the new one has caught up."""
    body: Row = {"id": new, "peer_url": peer, "rest_url": rest, "replaces": old}
    _register(call, body)
    if wait:
        wait_until(
            Group(call.remote).look,
            lambda rows: _votes(rows, new) and old not in rows,
            lambda rows: f"{_progress(rows, new)}; {old} {'is still a member' if old in rows else 'has left'}",
            wait_s,
        )


@writes(member, guarded=False, keyed=False)
def remove(
    call: Write, member_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the replica that leaves for good.")]
) -> None:
    """Remove a replica for good. Refused when the remaining live voters would be no majority."""
    rows = Group(call.remote).look()
    if member_id not in rows:
        raise CommandFailed(f"{member_id} is no member of this group; its members are {', '.join(rows)}")
    try:
        body = call.ask("DELETE", f"{_PATH}/{quote(member_id, safe='')}").body
    except CommandFailed as error:
        if not isinstance(error.problem, dict) or error.problem.get("code") != "not-found":
            raise
        body = {"member": {"id": member_id, "role": "removed"}, "event": None}  # by an attempt that got no answer
    if call.as_json:
        print_json(body)
    else:
        since = "" if _index(body) is None else f", since index {_index(body)}"
        _say(f"{member_id} is no member any more{since}; its folder can be deleted")


@writes(leader, guarded=False, keyed=False)
def transfer(
    call: Write,
    member_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Id of the next leader; the most advanced voter if not given.")
    ] = None,
) -> None:
    """Hand the leadership over without waiting for an election."""
    call.show(call.ask("POST", "/v1/cluster/leader", given(id=member_id)), _show_leader)


def _show_leader(answer: Answer) -> None:
    now = answer.body.get("leader")
    if isinstance(now, dict):
        _say(f"{now.get('id')} leads, at {now.get('url')}")


class Group:
    """Ask --url and every member that was ever seen about the members, as some may leave meanwhile."""

    def __init__(self, remote: Remote) -> None:
        self._urls = dict.fromkeys(remote.endpoints)

    def look(self) -> Rows:
        """Return the members by id, as the leader sees them if it answers. Raises: CommandFailed."""
        remote = Remote(",".join(self._urls))
        rows = members_of(as_the_leader_sees_it(remote.read("GET", "/v1/cluster", params={}, waits=False).body))
        self._urls |= dict.fromkeys(str(row.get("rest_url")) for row in rows)
        return {str(row.get("id")): row for row in rows}


def wait_until(
    look: Callable[[], Rows],
    done: Callable[[Rows], bool],
    progress: Callable[[Rows], str],
    wait_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> None:
    """Look repeatedly and say changes on stderr. Raises: CommandFailed after `wait_s`."""
    said, until = "", now_s() + wait_s
    while True:
        try:
            rows = look()
            now, is_done = progress(rows), done(rows)
        except CommandFailed as error:  # an election, a replica that just left: others answer, or it does later
            now, is_done = str(error), False
        if now != said:
            console(stderr=True).print(printable(now), markup=False)
            said = now
        if is_done:
            return
        if now_s() >= until:
            break
        sleep(POLL_S)
    raise CommandFailed(f"not done after {wait_s:.0f} s: {said}; it goes on by itself, see `raftmem member list`")


def join_command(join: str, member_id: str, *, peer: str, rest: str) -> str:
    """Return the command that starts a new replica; it listens at the addresses at which it is reached."""
    return f"raftmem serve --join {join} --node-id {member_id} --data DIR --rest {urlsplit(rest).netloc} --peer {peer}"


def _register(call: Write, body: Row) -> None:
    call.show(call.ask("POST", _PATH, body), lambda answer: _show_registered(call, body, answer))


def _show_registered(call: Write, body: Row, answer: Answer) -> None:
    registered = answer.body.get("member")
    role = registered.get("role") if isinstance(registered, dict) else None
    since = f", since index {_index(answer.body)}" if answer.status == 201 else " already"
    _say(f"{body['id']} is {_named(role)}{since}")
    if role == "learner":
        _say("Start it on its machine, with a folder that does not exist yet:")
        command = join_command(
            call.remote.endpoints[0], str(body["id"]), peer=str(body["peer_url"]), rest=str(body["rest_url"])
        )
        _say(f"  {command}")


def _votes(rows: Rows, member_id: str) -> bool:
    return rows.get(member_id, {}).get("role") in ("leader", "follower")


def _progress(rows: Rows, member_id: str) -> str:
    row = rows.get(member_id)
    if row is None:
        return f"{member_id}: not a member"
    if row.get("role") != "learner":
        return f"{member_id}: a voter"
    lag = row.get("lag_entries")
    if row.get("contact_age_ms") is None or lag is None:
        return f"{member_id}: a learner, waiting for it to be started"
    return f"{member_id}: a learner, {lag} entries behind"


def _named(role: object) -> str:
    return "a learner" if role == "learner" else "a voter"


def _index(body: Row) -> object:
    event = body.get("event")
    return event.get("index") if isinstance(event, dict) else None


def _say(line: str) -> None:
    console().print(printable(line), markup=False, soft_wrap=True)
