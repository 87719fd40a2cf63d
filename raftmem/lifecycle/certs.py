"""Certificates for a trial: an authority, and for each replica one that names its cluster and its id, with its key.

It writes new files only. An authority that stands in the folder is used again, so that a group can grow. The rule: a
certificate names one node id, since whoever holds its key may speak for every id that it names.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftmem.errors import BadRequest
from raftmem.limits import CERTIFICATE_HOSTS_MAX
from raftmem.model.addresses import is_node_id
from raftmem.raft.transport.tls import name

AUTHORITY: Final = "ca"
AUTHORITY_DAYS_MIN: Final = 3650
BACKDATED: Final = timedelta(hours=1)  # clocks of replicas may be behind
HOST_CHARACTERS_MAX: Final = 253  # RFC 1035


class Files(NamedTuple):
    """The paths of one certificate and its key."""

    cert: Path
    key: Path


class _Authority(NamedTuple):
    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def files(folder: Path, stem: str) -> Files:
    return Files(folder / f"{stem}.pem", folder / f"{stem}.key")


def make(
    folder: Path, nodes: Sequence[str], *, cluster: str, days: int, now: datetime, hosts: Sequence[str] = ()
) -> dict[str, Files]:
    """Make a certificate and key for each node of the cluster with that id, valid for `days`.

    `hosts`: further names or addresses in each of them.

    Raises: BadRequest when something does not fit or a file is there already; nothing was written then. OSError.
    """
    if re.fullmatch("[0-9a-f]{8}", cluster) is None:
        raise BadRequest(f"--cluster-id {cluster[:64]!r}: it has 8 hex digits", parameter="--cluster-id")
    _check(folder, nodes, hosts)
    folder.mkdir(parents=True, exist_ok=True)
    authority = _authority(folder, now, days)
    made = {}
    for node in nodes:
        made[node] = files(folder, node)
        key = ec.generate_private_key(ec.SECP256R1())
        _write(made[node], _of_node(name(cluster, node), node, key, authority, hosts, now, days), key)
    return made


def cluster_of(folder: Path) -> str | None:
    """The cluster that the certificates in a folder are for; None: there are none. Raises: BadRequest, OSError."""
    found: set[str] = set()
    for path in sorted(folder.glob("*.pem")):
        try:
            cert = x509.load_pem_x509_certificate(path.read_bytes())
            names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound):
            continue  # the authority's own, or none of ours
        for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
            scheme, _, rest = uri.partition("://")
            if scheme == "raftmem":
                found.add(rest.partition("/")[0])
    if len(found) > 1:
        raise BadRequest(
            f"{folder} holds certificates of clusters {', '.join(sorted(found))}", parameter="--cluster-id"
        )
    return found.pop() if found else None


def _check(folder: Path, nodes: Sequence[str], hosts: Sequence[str]) -> None:
    if not nodes or len(set(nodes)) != len(nodes):
        raise BadRequest("--nodes names no replica, or one twice; give ids such as n1,n2,n3", parameter="--nodes")
    for node in nodes:
        if not is_node_id(node) or node == AUTHORITY:
            raise BadRequest(f"--nodes: {node!r} cannot be the id of a replica here", parameter="--nodes")
        for path in files(folder, node):
            if os.path.lexists(path):
                raise BadRequest(f"{path} is there already; move it away, or give another folder", parameter="--out")
    if len(hosts) > CERTIFICATE_HOSTS_MAX:
        raise BadRequest(
            f"--hosts names {len(hosts)}, at most {CERTIFICATE_HOSTS_MAX} are possible", parameter="--hosts"
        )
    for host in hosts:
        if host in nodes or os.path.lexists(files(folder, host).cert):
            raise BadRequest(f"--hosts: {host} is a replica's id; no other may speak for it", parameter="--hosts")
        _general_name(host)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if (
            not 0 < len(host) <= HOST_CHARACTERS_MAX
            or not host.isascii()
            or not host.isprintable()
            or set(host) & set(" /")
        ):
            raise BadRequest(f"--hosts: {host[:64]!r} is no host name and no address", parameter="--hosts") from None
        return x509.DNSName(host)


# --- the authority ---------------------------------------------------------------------------------------
def _authority(folder: Path, now: datetime, days: int) -> _Authority:
    """Return the authority in the folder, or make one."""
    where = files(folder, AUTHORITY)
    there = [path for path in where if os.path.lexists(path)]
    if len(there) == 1:
        raise BadRequest(f"{there[0]} is there without the other half of the authority; give another folder")
    if there:
        return _read_authority(where, now, days)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _new_authority(key, now, days)
    _write(where, cert, key)
    return _Authority(cert, key)


def _read_authority(where: Files, now: datetime, days: int) -> _Authority:
    try:
        cert = x509.load_pem_x509_certificate(where.cert.read_bytes())
        key = serialization.load_pem_private_key(where.key.read_bytes(), password=None)
    except (ValueError, TypeError) as error:  # TypeError: the key has a password
        raise BadRequest(f"{where.cert}, {where.key}: no authority can be read ({error})", parameter="--out") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or cert.public_key() != key.public_key():
        raise BadRequest(f"{where.key} is not the key to {where.cert}", parameter="--out")
    if cert.not_valid_after_utc < now + timedelta(days=days):
        raise BadRequest(
            f"{where.cert} ends on {cert.not_valid_after_utc:%Y-%m-%d}, before --days {days} do; give fewer days, or "
            "another folder for a new authority",
            parameter="--days",
        )
    return _Authority(cert, key)


def _new_authority(key: ec.EllipticCurvePrivateKey, now: datetime, days: int) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "raftmem peers")])
    public = key.public_key()
    return (
        _begun(name, name, public, now, max(days, AUTHORITY_DAYS_MIN))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


# --- one replica -------------------------------------------------------------------------------------------
def _of_node(
    identity: str,
    node: str,
    key: ec.EllipticCurvePrivateKey,
    authority: _Authority,
    hosts: Sequence[str],
    now: datetime,
    days: int,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    names = [x509.UniformResourceIdentifier(identity), x509.DNSName(node), *map(_general_name, hosts)]
    issuer = authority.cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _begun(subject, authority.cert.subject, key.public_key(), now, days)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _begun(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(where: Files, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _create(where.key, secret, mode=0o600)
    _create(where.cert, cert.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _create(path: Path, data: bytes, *, mode: int) -> None:
    """Create a file; one that exists is never overwritten."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
