"""`raftmem secret`: the secret that the replicas of one group share, where they have no certificates."""

from pathlib import Path
from typing import Annotated

import typer

from raftmem.cli.options import json_text
from raftmem.cli.output import JsonFlag, console, print_json
from raftmem.errors import BadRequest


def secret(
    out: Annotated[Path, typer.Option("--out", help="The file to make; it must not be there.")],
    as_json: JsonFlag = False,
) -> None:
    """Make the file with the secret of a new group; every replica gets the same one as `peer_secret_file`.

    Whoever can read it can speak for any replica of the group. `raftmem up` makes one for its group by itself.
    """
    from raftmem.lifecycle.peer_credentials import make
    from raftmem.runtime.system import SystemRandomness

    path = out.absolute()
    try:
        made = make(path, SystemRandomness())
    except OSError as error:
        raise BadRequest(f"cannot make {path}: {error.strerror}", parameter="--out") from error
    if not made:
        raise BadRequest(f"{path} is there already; move it away, or give another name", parameter="--out")
    if as_json:
        print_json({"peer_secret_file": str(path)})
        return
    console().print(f"peer_secret_file = {json_text(str(path))}", markup=False, soft_wrap=True)
