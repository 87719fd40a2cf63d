"""`raftmem certs`: certificates for the peer ports of a group, to try mutual TLS with.

It writes new files into one folder and says which settings name them. A group that is meant to last takes its
certificates from an authority of its operator: one for each replica, with the name `URI:raftmem://CLUSTER/NODE`.
"""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from raftmem.cli.options import json_text
from raftmem.cli.output import JsonFlag, console, print_json

DAYS_MAX: Final = 36_500


def certs(
    out: Annotated[Path, typer.Option("--out", help="Folder to write the files into; created if missing.")],
    nodes: Annotated[str, typer.Option("--nodes", help="Ids of the replicas, such as n1,n2,n3.")],
    days: Annotated[
        int, typer.Option("--days", min=1, max=DAYS_MAX, help="Days that the certificates stay valid.")
    ] = 365,
    hosts: Annotated[
        str, typer.Option("--hosts", help="Further names or addresses in each certificate; replicas check ids only.")
    ] = "",
    cluster: Annotated[
        str | None, typer.Option("--cluster-id", help="Their group's (default: as in the folder, else a new id).")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write an authority, and a certificate with its key for each replica, for mutual TLS between replicas.

    It reuses an authority that the folder already holds, and never overwrites a file.
    """
    from raftmem.lifecycle import certs as authority  # loads cryptography, which no other command needs

    folder = out.absolute()
    of = cluster or authority.cluster_of(folder) or secrets.token_hex(4)
    now = datetime.now(UTC).replace(microsecond=0)
    made = authority.make(folder, _listed(nodes), cluster=of, days=days, now=now, hosts=_listed(hosts))
    ca = authority.files(folder, authority.AUTHORITY)
    settings = {
        node: {"peer_cert": str(files.cert), "peer_key": str(files.key), "peer_ca": str(ca.cert)}
        for node, files in made.items()
    }
    if as_json:
        print_json({"ca_key": str(ca.key), "cluster_id": of, "days": days, "nodes": settings})
        return
    screen = console()
    for node, values in settings.items():
        screen.print(f"# settings of {node}, with cluster_id = {json_text(of)}", markup=False)
        for name, path in values.items():
            screen.print(f"{name} = {json_text(path)}", markup=False)
    screen.print(f"# keep {ca.key} away from the replicas: whoever has it can speak for any of them", markup=False)


def _listed(text: str) -> list[str]:
    """Split a list at its commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
