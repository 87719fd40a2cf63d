"""Browsers: the hosts that this service answers as, and the pages that may ask it.

A page of somebody else's runs in the browser of a user who can reach this service. It must read nothing and change
nothing. The rules: a request names exactly one host, and one that we answer as, since a page whose name was made to
resolve to our address (DNS rebinding) names itself; a request that may change something comes from no other site; only
origins that the settings name may read replies (CORS). A client that is no browser sends none of these but Host.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from raftmem.api.http.problems import Problem
from raftmem.api.http.settings import ApiSettings
from raftmem.errors import BadRequest

ANY_HOST: Final = "*"
_KNOWN_MAX: Final = 1024  # values of Host that were looked at
_AUTHORITY: Final = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(:[0-9]{1,5})?")
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_OWN_SITE: Final = (b"same-origin", b"none")  # `none`: the user, by the address bar
_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS: Final = (
    b"Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Raftmem-Actor, "
    b"X-Request-Id"
)
_REPLY_HEADERS: Final = (
    b"Allow, ETag, Idempotent-Replayed, Location, Raftmem-Cluster, Raftmem-Consistency, Raftmem-Index, Raftmem-Leader, "
    b"Raftmem-Node, Raftmem-Term, Retry-After, X-Request-Id"
)
PREFLIGHT: Final = (
    (b"access-control-allow-methods", _METHODS),
    (b"access-control-allow-headers", _REQUEST_HEADERS),
    (b"access-control-max-age", b"600"),
)


class OriginPolicy:
    """`known`: values of Host that were admitted; a request with one of them and without Origin needs no other look."""

    def __init__(self, settings: ApiSettings) -> None:
        self._hosts = frozenset(host.lower() for host in settings.hosts)
        self._any_address = settings.any_address
        self._origins = frozenset(origin.encode() for origin in settings.cors_origins)
        self.known: set[bytes] = set()

    def admit(self, method: str, headers: Mapping[bytes, bytes], *, needs_host: bool) -> bytes:
        """Header lines that the reply gets for its origin. `needs_host`: not of HTTP/1.0.

        Raises: BadRequest without a valid Host; Problem `forbidden`.
        """
        host = headers.get(b"host")
        if host not in self.known:
            self._check_host(host, needs_host=needs_host)
        if b"origin" in headers or b"sec-fetch-site" in headers:
            return self._check_site(method, headers, host or b"")
        return b""

    # --- hosts ----------------------------------------------------------------------------------------
    def _check_host(self, host: bytes | None, *, needs_host: bool) -> None:
        if host is None:
            if needs_host:
                raise BadRequest("Host is missing; send one", parameter="Host")
            return
        found = _AUTHORITY.fullmatch(host)
        if found is None:
            raise BadRequest("Host must be a name or an address, with a port or without", parameter="Host")
        name = found[1].decode("ascii").lower().removesuffix(".")
        if not self._answers_as(name):
            raise Problem(
                "forbidden",
                f"this service does not answer as {name}; ask it by an address of its own, or add that name to its "
                "setting allowed_hosts",
                extra={"parameter": "Host"},
            )
        if len(self.known) >= _KNOWN_MAX:
            self.known.clear()
        self.known.add(host)

    def _answers_as(self, name: str) -> bool:
        if name in self._hosts or name.endswith(".localhost") or ANY_HOST in self._hosts:
            return True
        if "." not in name and ":" not in name:
            return True  # `localhost`, `n1`: a name without a dot is given on this network, never by a page elsewhere
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or self._any_address or str(address) in self._hosts

    # --- sites ----------------------------------------------------------------------------------------
    def _check_site(self, method: str, headers: Mapping[bytes, bytes], host: bytes) -> bytes:
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin in self._origins:
            allowed = b"access-control-allow-origin: %b\r\nvary: origin\r\n" % origin
            return allowed + b"access-control-expose-headers: %b\r\n" % _REPLY_HEADERS
        if method in _SAFE or site == b"same-origin":  # a page cannot set Sec-Fetch-Site
            return b""
        if (site is not None and site not in _OWN_SITE) or (origin is not None and not _is_own(origin, host)):
            shown = "another site" if origin is None else origin[:255].decode("latin-1")
            raise Problem(
                "forbidden",
                f"a page of {shown} may change nothing here; add its origin to the setting cors_origins if it may",
                extra={"parameter": "Origin" if origin is not None else "Sec-Fetch-Site"},
            )
        return b""


def _is_own(origin: bytes, host: bytes) -> bool:
    """An origin is scheme and authority; the default port of a scheme may be left out on either side."""
    scheme, _, authority = origin.lower().partition(b"://")
    port = {b"http": b":80", b"https": b":443"}.get(scheme)
    return port is not None and authority.removesuffix(port) == host.lower().removesuffix(port)
