"""`raftmem recover`: a majority is lost for good; one folder goes on as a new incarnation of its group."""

import uuid
from pathlib import Path
from typing import Annotated

import typer

from raftmem.cli.member import join_command
from raftmem.cli.options import DataOption
from raftmem.cli.output import JsonFlag, console, print_json, printable
from raftmem.cli.remote import login
from raftmem.cli.surroundings import private_files
from raftmem.errors import BadRequest
from raftmem.lifecycle.recover import Plan, plan, read_members
from raftmem.lifecycle.recover import recover as carry_out
from raftmem.model.commands import Actor, Member, Members
from raftmem.runtime.system import SystemClock


def recover(
    data: DataOption,
    members: Annotated[
        Path,
        typer.Option(
            "--members",
            help="The new group, TOML or JSON: [{id, peer, rest_url}]: this replica, all others under new ids.",
        ),
    ],
    show_plan: Annotated[
        bool, typer.Option("--plan", help="Print what --yes would do and lose; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Recover the folder.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a stopped replica the only voter of a new incarnation of its group. Only when a majority is lost for good.

    Everything that the lost majority had acknowledged and this folder does not hold is lost. Run it with --plan on
    every folder that survived, and with --yes on one alone: that of the greatest last term, then last index. Every
    other folder of the group must never be started again, and no other id of the group comes back. Cut short, run it
    again: until it has ended, the replica does not start.
    """
    if show_plan == yes:
        raise BadRequest("give --plan to see what would be done, or --yes to do it", parameter="--plan")
    named = read_members(members)
    actor, request_id = Actor("user", login()), f"cli-{uuid.uuid4().hex}"
    if yes:
        private_files(data)
        found = carry_out(data, named, actor=actor, request_id=request_id, wall_ms=SystemClock().wall_ms())
    else:
        found = plan(data, named, actor=actor, request_id=request_id)
    if as_json:
        print_json({"done": yes, **_json(found)})
        return
    for line in _lines(data, found) if not yes else _done(found):
        console().print(printable(line), markup=False, soft_wrap=True)


def _json(found: Plan) -> dict[str, object]:
    return {
        "node_id": found.node_id,
        "last_term": found.last_term,
        "last_index": found.last_index,
        "applied_index": found.applied,
        "undecided_entries": found.undecided,
        "term": found.term,
        "had_a_vote": found.had_a_vote,
        "before": _group(found.before),
        "after": _group(found.after),
    }


def _group(members: Members) -> dict[str, object]:
    def shown(these: tuple[Member, ...]) -> list[dict[str, object]]:
        return [{"id": one.id, "peer_url": one.peer_url, "rest_url": one.rest_url} for one in these]

    return {
        "cluster_id": members.cluster_id,
        "incarnation": members.incarnation,
        "voters": shown(members.voters),
        "learners": shown(members.learners),
        "removed": members.removed,
    }


def _lines(data: Path, found: Plan) -> list[str]:
    before, after = found.before, found.after
    lines = [
        f"{data}: {found.node_id} of {before.cluster_id}/{before.incarnation}",
        f"  last entry here: term {found.last_term}, index {found.last_index}; applied up to {found.applied}; "
        f"term of its hard state {found.term}",
        f"  its group: voters {_ids(before.voters)}; learners {_ids(before.learners)}",
    ]
    if not found.had_a_vote:
        lines.append(f"  {found.node_id} was a learner: a voter's folder is likely to hold more, prefer one")
    lines += [
        "What may be lost:",
        f"  every write after index {found.last_index} that the lost majority acknowledged; nobody can say how many",
    ]
    if found.undecided:
        lines.append(
            f"  and the other way round: {found.undecided} entries here ({found.applied + 1} to {found.last_index}) "
            "that may never have been acknowledged become committed"
        )
    if found.others:
        lines += [
            f"Compare first: run --plan on the folder of every survivor among {_ids(found.others)};",
            "  the one with the greatest last term, then last index, loses least. Recover that one alone.",
        ]
    lines += [
        f"With --yes: incarnation {after.incarnation}, in term {found.term + 1}: {_ids(after.voters)} votes alone",
        f"  never to come back, as an id or as a folder: {', '.join(after.removed) or 'none'}",
        *_to_start(after),
    ]
    return lines


def _done(found: Plan) -> list[str]:
    after = found.after
    return [
        f"{found.node_id} is the only voter of {after.cluster_id}/{after.incarnation} now, from index "
        f"{found.last_index + 1} on; start it as before",
        *_to_start(after),
        "Never start another folder of the old group again.",
    ]


def _to_start(after: Members) -> list[str]:
    url = after.voters[0].rest_url
    return [
        f"  {one.id} joins with an empty folder: {join_command(url, one.id, peer=one.peer_url, rest=one.rest_url)}"
        for one in after.learners
    ]


def _ids(members: tuple[Member, ...]) -> str:
    return ", ".join(one.id for one in members) or "none"
