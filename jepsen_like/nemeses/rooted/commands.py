"""Commands of the system, as root: run to their end, and trouble if they fail."""

import os
import shutil
import subprocess
from collections.abc import Mapping

from jepsen_like.cluster.client import Trouble


def run(*words: str, given: str = "") -> str:
    """Runs a command and returns its output. `given`: its input. Raises: Trouble with its complaint."""
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def missing(packages: Mapping[str, str]) -> str | None:
    """The packages to install. `packages`: of Debian, by the command that each has."""
    if os.geteuid() != 0:
        return "it needs root"
    absent = [(command, package) for command, package in packages.items() if shutil.which(command) is None]
    if not absent:
        return None
    names = ", ".join(sorted({package for _, package in absent}))
    return f"{', '.join(command for command, _ in absent)} cannot be found: install {names}"
