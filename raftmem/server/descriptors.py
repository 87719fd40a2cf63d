"""File descriptors: the limit of this process is raised to the hard one, and HTTP gets no more than a part of it.

The rule: connections never take the descriptors that the log, the state, snapshots and the peer port need, since a
replica that cannot open a file cannot go on.
"""

import logging
import resource

from raftmem.limits import CONNECTIONS_MAX, CONNECTIONS_MIN, DESCRIPTORS_RESERVED

log = logging.getLogger("raftmem.http")


def raise_limit() -> int:
    """Raise the soft limit to the hard one where the system lets us. The limit that is in force then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return _finite(soft)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS refuses an unlimited hard limit
        log.warning("the limit of open files stays at %d: %s", soft, error)
        return _finite(soft)
    return _finite(hard)


def connections_max(descriptors: int) -> int:
    """The number of HTTP connections that fit below a limit of open files, less the reserve."""
    return max(CONNECTIONS_MIN, min(CONNECTIONS_MAX, descriptors - DESCRIPTORS_RESERVED))


def _finite(limit: int) -> int:
    return CONNECTIONS_MAX + DESCRIPTORS_RESERVED if limit == resource.RLIM_INFINITY else limit
