"""The proof that a replica belongs to its group: certificates, or the file with the secret that the group shares.

The secret's file is the setting `peer_secret_file`, else `peer.secret` in the replica's own data folder. `raftmem up`
makes one for its group, `raftmem secret` one for a group by hand; a replica that is the only voter of its group makes
its own. Rule: no replica opens its peer port without one of them, loopback included: any local user could forge the
log.
"""

import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from raftmem.errors import BadRequest
from raftmem.raft.transport.secret import SECRET_BYTES_MAX, PeerSecret
from raftmem.raft.transport.tls import PeerTls
from raftmem.runtime.interfaces import Randomness
from raftmem.settings import Settings
from raftmem.storage.atomic_file import sync_folder

log = logging.getLogger("raftmem.peers")
FILE: Final = "peer.secret"
RANDOM_BYTES: Final = 32
_MODE: Final = 0o600
_CURE: Final = (
    "all replicas of a group share one secret: make it once with `raftmem secret --out peer.secret`, give each replica "
    "the same file as peer_secret_file, or certificates as peer_cert, peer_key and peer_ca"
)


class Credentials(NamedTuple):
    """`secret`: None where there are certificates and no file; else it also gives keys that all replicas share."""

    tls: PeerTls | None
    secret: PeerSecret | None


def find(settings: Settings) -> Credentials:
    """Those that the settings name, or that the data folder holds. Raises: BadRequest for what cannot be used."""
    tls = None
    if settings.peer_cert is not None and settings.peer_key is not None and settings.peer_ca is not None:
        tls = PeerTls(cert=settings.peer_cert, key=settings.peer_key, ca=settings.peer_ca)
    if settings.peer_secret_file is not None:
        return Credentials(tls, read(settings.peer_secret_file))
    own = settings.data / FILE
    return Credentials(tls, read(own) if own.exists() else None)


def check(settings: Settings) -> None:
    """Before a folder is made for a replica that is not alone. Raises: BadRequest."""
    if settings.join is not None or len(settings.members) > 1:
        require(find(settings))


def require(credentials: Credentials) -> Credentials:
    """Raises: BadRequest when there are none."""
    if credentials == Credentials(None, None):
        raise BadRequest(f"this replica has no peer secret and no certificate; {_CURE}", parameter="peer_secret_file")
    return credentials


def open_credentials(settings: Settings, *, is_alone: bool, randomness: Randomness) -> Credentials:
    """Of a replica whose folder is open. `is_alone`: it is the only member, so that nobody else has its secret yet: it
    makes one in its folder. Raises: BadRequest, OSError."""
    if is_alone and find(settings) == Credentials(None, None):
        make(settings.data / FILE, randomness)
    return require(find(settings))


def read(path: Path) -> PeerSecret:
    """Raises: BadRequest."""
    try:
        with open(path, "rb") as file:
            text = file.read(SECRET_BYTES_MAX + 1).strip()
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise BadRequest(f"cannot read {path}: {error.strerror}; {_CURE}", parameter="peer_secret_file") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        log.warning("%s is open to every user of this machine: run `chmod 600 %s`", path, path)
    try:
        return PeerSecret(text)
    except ValueError as error:
        raise BadRequest(f"{path} holds no secret: {error}; {_CURE}", parameter="peer_secret_file") from error


def make(path: Path, randomness: Randomness) -> bool:
    """A new secret, whole and on disk when this returns, mode 0600. False: the file was there, and is as it was.

    Raises: OSError.
    """
    if path.exists():
        return False
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(randomness.bytes(RANDOM_BYTES).hex().encode() + b"\n")
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        os.link(name, path)  # never over a file that is there
    except FileExistsError:
        return False
    finally:
        os.unlink(name)
    sync_folder(path.parent)
    return True
