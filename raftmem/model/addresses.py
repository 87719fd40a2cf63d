"""Names and addresses of replicas: ids, and `host:port` as text.

It resolves nothing and opens nothing. The rule: what passes here can stand in a membership for ever.
"""

import ipaddress
import re
from typing import Final

from raftmem.limits import ADDRESS_BYTES_MAX

NODE_ID: Final = "^[A-Za-z0-9._-]{1,64}$"  # of a replica; safe in a path, a file name and a certificate
_NODE_ID: Final = re.compile(NODE_ID.removeprefix("^").removesuffix("$"))
_URL: Final = re.compile(r"https?://[!-~]+")


def is_node_id(text: str) -> bool:
    """`.` and `..` are none: a path swallows them."""
    return _NODE_ID.fullmatch(text) is not None and text not in (".", "..")


def split_address(address: str, *, name: str) -> tuple[str, int]:
    """(host, port) of `host:port`; IPv6 in brackets. Raises: ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{name} = {address!r} is not host:port with a port of 1..65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_peer(address: str, *, name: str) -> None:
    """Check a replica's peer address. Raises: ValueError, also for an address that only means "listen"."""
    host, _ = split_address(address, name=name)
    if len(address.encode()) > ADDRESS_BYTES_MAX or not host.isascii() or not host.isprintable() or " " in host:
        raise ValueError(f"{name} = {address[:64]!r} is not host:port of ASCII, at most {ADDRESS_BYTES_MAX} bytes")
    if is_unspecified(host):
        raise ValueError(f"{name} = {address} is every address of a machine; name the one that the others reach")


def check_rest_url(url: str, *, name: str) -> None:
    """Check the address where clients find a replica. Raises: ValueError."""
    if len(url) > ADDRESS_BYTES_MAX or _URL.fullmatch(url) is None:
        raise ValueError(f"{name} = {url[:64]!r} is not an http:// address of at most {ADDRESS_BYTES_MAX} characters")


def is_unspecified(host: str) -> bool:
    """True if the host means "listen everywhere" (0.0.0.0 or ::) and names no machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
