"""`voter.py GROUP serve …`: runs `raftmem serve …` in its own place, with `--bootstrap` only the first time.

GROUP is a volume that all replicas share and that outlives theirs: it holds the secret by which they know one another,
and a mark of each replica that has begun. A
replica without a mark and with an empty folder gets a permit into that folder, and then its mark; both are on disk
before it starts. Rule: a folder that was emptied has no permit, and its replica no right to another, so it refuses to
start instead of voting again under a name that has already promised something; it is replaced under a new id.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from raftmem.cli.group import PERMIT
from raftmem.lifecycle.peer_credentials import FILE, make
from raftmem.runtime.system import SystemRandomness
from raftmem.storage.atomic_file import sync_folder, write_atomic
from raftmem.storage.folder import read_identity


def may_bootstrap(group: Path, data: Path, node_id: str) -> bool:
    """Whether this start may make the folder a voter; again if a start before was cut short while it did."""
    mark, permit = group / f"{node_id}.began", data / PERMIT
    if not mark.exists():
        if not any(data.iterdir()):
            write_atomic(permit, b"this empty folder may become a voter, once\n")
        write_atomic(mark, b"this replica has begun: its folder, once emptied, is no voter any more\n")
    identity = read_identity(data)
    if identity is not None and identity.ready and permit.exists():
        permit.unlink()
        sync_folder(data)
    return permit.exists()


def command(words: list[str], environment: Mapping[str, str]) -> list[str]:
    group, *rest = words
    allowed = may_bootstrap(Path(group), Path(environment["RAFTMEM_DATA"]), environment["RAFTMEM_NODE_ID"])
    secret = Path(group) / FILE
    if "RAFTMEM_PEER_CERT" not in environment:
        make(secret, SystemRandomness())
        rest += ["--peer-secret-file", str(secret)]
    return [str(Path(sys.executable).with_name("raftmem")), *rest, *(["--bootstrap"] if allowed else [])]


if __name__ == "__main__":
    argv = command(sys.argv[1:], os.environ)
    os.execv(argv[0], argv)
