"""Makes each replica's state again from its entries alone, and compares them: `raftmem replay --verify`."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from jepsen_like.cluster.client import together
from jepsen_like.cluster.served import Served

PATIENCE_S: Final = 1800.0


def replayed(replicas: Sequence[Served]) -> dict[str, str]:
    """By replica, all of which have ended: "" if every digest is the same, else the complaint."""
    complaints = together(len(replicas), lambda k: _complaint(replicas[k]))
    return {replica.id: complaint for replica, complaint in zip(replicas, complaints, strict=True)}


def _complaint(replica: Served) -> str:
    argv = [sys.executable, "-m", "raftmem", "replay", "--data", str(replica.folder), "--verify"]
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"the replay did not end within {PATIENCE_S:.0f} s"
    return "" if ended.returncode == 0 else f"exit code {ended.returncode}: {ended.stderr.strip()[-500:]}"
