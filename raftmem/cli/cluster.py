"""`raftmem status` and `raftmem digest`: how a running group is doing."""

import contextlib
from typing import Annotated

import typer

from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.output import JsonFlag, console, print_json, print_table, printable
from raftmem.cli.remote import DEFAULT_URL, Remote, UrlOption

COLUMNS = (
    "id",
    "role",
    "rest_url",
    "peer_url",
    "applied_index",
    "match_index",
    "lag_entries",
    "contact_age_ms",
    "version",
)


def status(url: UrlOption = DEFAULT_URL, as_json: JsonFlag = False) -> None:
    """Show the leader and the progress of every replica. Exits with 5 when there is no leader."""
    cluster = as_the_leader_sees_it(Remote(url).read("GET", "/v1/cluster", params={}, waits=False).body)
    leader_id = cluster.get("leader")
    if as_json:
        print_json(cluster)
    else:
        name = f"{cluster.get('cluster_id')}/{cluster.get('incarnation')}"
        head = f"cluster {name}: leader {leader_id or 'none'}, term {cluster.get('term')}"
        console().print(printable(f"{head}, commit index {cluster.get('commit_index')}"), markup=False)
        print_table(COLUMNS, [[row.get(column) for column in COLUMNS] for row in members_of(cluster)])
    if leader_id is None:
        raise CommandFailed("no leader is known: writes wait for an election", exit_code=Exit.NO_LEADER)


def as_the_leader_sees_it(cluster: dict[str, object]) -> dict[str, object]:
    """Ask the leader, which alone knows the progress of the others; return the given view if it does not answer."""
    for member in members_of(cluster):
        if member.get("id") == cluster.get("leader"):
            with contextlib.suppress(CommandFailed):
                return Remote(str(member.get("rest_url"))).read("GET", "/v1/cluster", params={}, waits=False).body
    return cluster


def members_of(cluster: dict[str, object]) -> list[dict[str, object]]:
    members = cluster.get("members")
    return [member for member in members if isinstance(member, dict)] if isinstance(members, list) else []


def digest(
    at: Annotated[int | None, typer.Option("--at", help="Compare the digests at this log index.")] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Compare the digest of the state on every replica of --url (all of them, not the first that answers)."""
    answers: list[tuple[str, dict[str, object]]] = []
    for endpoint in Remote(url).endpoints:
        params = {"at": answers[0][1].get("index") if answers else at}  # all at one index, so that they compare
        answers.append((endpoint, Remote(endpoint).read("GET", "/v1/state/digest", params=params).body))
    if as_json:
        print_json([{"url": endpoint, **body} for endpoint, body in answers])
    else:
        print_table(("url", "index", "digest"), [(e, body.get("index"), body.get("digest")) for e, body in answers])
    if len({str(body.get("digest")) for _, body in answers}) > 1:
        raise CommandFailed("the replicas differ: stop them and run `raftmem replay --verify` on each folder")
