"""The command line in a process of its own, as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

from jepsen_like.cluster.client import PATIENCE_S


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "raftmem", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
