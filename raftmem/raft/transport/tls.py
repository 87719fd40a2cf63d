"""Mutual TLS of the peer port: TLS 1.3 only, both ends are asked for a certificate of the group's own authority.

The files are looked at again for every new connection, so that replaced certificates count without a restart;
connections that stand are left alone. A set that cannot be loaded is complained of, and the one before stays in force.
The rule: a connection counts for the node ids that the certificate of its other end names by `raftmem://CLUSTER/NODE`,
and for no other; a certificate of the same authority without such a name is a stranger's.
"""

import logging
import os
import ssl
from pathlib import Path
from typing import NamedTuple

from raftmem.errors import BadRequest

log = logging.getLogger("raftmem.peers")


class _Contexts(NamedTuple):
    server: ssl.SSLContext
    client: ssl.SSLContext


class PeerTls:
    """The set of one replica: its certificate, the private key to it, and who signed the others' (PEM files)."""

    def __init__(self, *, cert: Path, key: Path, ca: Path) -> None:
        """Raises: BadRequest when the set cannot be loaded."""
        self._paths = (cert, key, ca)
        self._seen = self._look()
        try:
            self._contexts = self._load()
        except OSError as error:
            raise BadRequest(f"{self._complaint(error)}; `raftmem certs` makes a set", parameter="peer_cert") from error

    def server(self) -> ssl.SSLContext:
        """For a connection that was accepted."""
        return self._current().server

    def client(self) -> ssl.SSLContext:
        """For a connection that is dialled."""
        return self._current().client

    def _current(self) -> _Contexts:
        seen = self._look()
        if seen != self._seen:
            self._seen = seen  # also of a set that does not load: it is tried again when a file changes once more
            try:
                self._contexts = self._load()
                log.info("the certificates of the peer port were replaced")
            except OSError as error:
                log.warning("%s; the certificates before stay in force", self._complaint(error))
        return self._contexts

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]

    def _load(self) -> _Contexts:
        """Raises: OSError (every error of ssl is one)."""
        cert, key, ca = self._paths
        contexts = _Contexts(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        for context in contexts:
            context.check_hostname = False  # ids are checked, not hosts: see `names`
            context.verify_mode = ssl.CERT_REQUIRED
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(cert, key, password="")  # a key with a password is refused; never ask a terminal
            context.load_verify_locations(ca)
        contexts.server.num_tickets = 0  # every connection is checked whole
        return contexts

    def _complaint(self, error: OSError) -> str:
        return f"cannot load {', '.join(map(str, self._paths))}: {error.strerror or error}"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def name(cluster_id: str, node_id: str) -> str:
    """The URI among the names of a certificate that makes it speak for that node of that cluster."""
    return f"raftmem://{cluster_id}/{node_id}"


def names(certificate: object, cluster_id: str) -> frozenset[str]:
    """The node ids of that cluster that a checked certificate, as `SSLSocket.getpeercert` shows it, speaks for."""
    prefix = name(cluster_id, "")
    match certificate:
        case {"subjectAltName": tuple(pairs)}:
            return frozenset(
                str(uri)[len(prefix) :] for kind, uri in pairs if kind == "URI" and str(uri).startswith(prefix)
            )
        case _:
            return frozenset()
