"""Settings of one replica: file < environment < flags, every setting in all three, unknown names refused.

`load` only reads what it is given and touches nothing else; it says of each value where it came from.
The rule: a `Settings` that exists is valid, whoever made it, so that nothing behind it checks again.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from raftmem import limits
from raftmem.api.http import strict_json
from raftmem.api.http.origin import ANY_HOST
from raftmem.api.http.settings import DefaultLevel, Override
from raftmem.errors import BadRequest
from raftmem.model.addresses import NODE_ID, check_rest_url, is_node_id
from raftmem.model.addresses import split_address as split_address
from raftmem.model.commands import Member

PREFIX: Final = "RAFTMEM_"
# Read by the command line and the clients, not by a replica.
CLIENT_VARIABLES: Final = (
    *("RAFTMEM_URL", "RAFTMEM_TOKEN", "RAFTMEM_ACTOR", "RAFTMEM_CONFIG"),
    *("RAFTMEM_LOCK", "RAFTMEM_OWNER"),  # of a command that `raftmem lock run` runs
)
# Kubernetes puts these into every pod beside a service called raftmem.
_FOREIGN = re.compile(r"RAFTMEM_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_\w+)?|TEST_\w+)")

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")

LogLevel = Literal["debug", "info", "warning", "error"]


class Voter(Struct, frozen=True, forbid_unknown_fields=True):
    """One member as the settings name it; `folder_id` binds it to a data folder at bootstrap."""

    id: Annotated[str, Meta(pattern=NODE_ID)]
    peer: str
    rest_url: str
    folder_id: str | None = None


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one replica."""

    node_id: Annotated[str, Meta(pattern=NODE_ID, description="name of this replica in the group")]
    data: Annotated[Path, Meta(description="folder of this replica's log, state, vectors and snapshots")]
    cluster_id: Annotated[
        Annotated[str, Meta(pattern="^[0-9a-f]{8}$")] | None,
        Meta(
            description="8 hex digits, the same on every replica; the folder's own, or the joined group's, if not given"
        ),
    ] = None
    rest: Annotated[str, Meta(description="host:port that REST listens on")] = "127.0.0.1:8101"
    peer: Annotated[str, Meta(description="host:port that the other replicas connect to")] = "127.0.0.1:9101"
    rest_url: Annotated[str, Meta(description="address told to clients (default: http://<rest>)")] = ""
    members: Annotated[tuple[Voter, ...], Meta(description="every voter: [{id, peer, rest_url, folder_id}]")] = ()
    bootstrap: Annotated[bool, Meta(description="make an empty data folder a voter of a new group")] = False
    folder_id: Annotated[str | None, Meta(description="identity to give the folder at bootstrap")] = None
    join: Annotated[
        str | None, Meta(description="REST addresses of members, one is enough: an empty data folder joins that group")
    ] = None
    election_timeout_ms: Annotated[
        Annotated[int, Meta(ge=50, le=60_000)] | None,
        Meta(description="silence of a leader after which another stands; the group's own once it is bootstrapped"),
    ] = None
    heartbeat_ms: Annotated[int, Meta(ge=5, le=10_000, description="how often a leader is heard")] = 100
    clock_drift_ppm: Annotated[
        Annotated[int, Meta(ge=0, le=100_000)] | None,
        Meta(description="how far two clocks may drift apart, taken off a lease; the group's own likewise"),
    ] = None
    peer_cert: Annotated[Path | None, Meta(description="this replica's certificate for the peer port (PEM)")] = None
    peer_key: Annotated[Path | None, Meta(description="its private key (PEM)")] = None
    peer_ca: Annotated[Path | None, Meta(description="who signed the certificates of all replicas (PEM)")] = None
    peer_secret_file: Annotated[
        Path | None,
        Meta(description="file with the secret that all replicas share (default: <data>/peer.secret)"),
    ] = None
    snapshot_entries: Annotated[
        int,
        Meta(
            ge=1,
            le=10**9,
            description="a snapshot comes after so many entries, if an eighth as large",
        ),
    ] = 100_000
    snapshot_bytes: Annotated[int, Meta(ge=1024, le=1 << 40, description="or after so many bytes of entries")] = (
        256 << 20
    )
    snapshot_age_s: Annotated[
        int, Meta(ge=1, le=10**8, description="or after so many seconds, if anything was written")
    ] = 3600
    log_keep_entries: Annotated[
        int, Meta(ge=0, le=10**9, description="entries kept in the log below a snapshot, for slow followers")
    ] = 10_000
    insecure: Annotated[bool, Meta(description="allow listening beyond loopback without authentication")] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(description='names that REST answers as, beside loopback and the addresses set here; ["*"] for any name'),
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...], Meta(description='origins of web pages that may use REST: ["https://app.example"]')
    ] = ()
    log_level: Annotated[LogLevel, Meta(description="debug, info, warning or error")] = "info"
    default_consistency: Annotated[
        DefaultLevel, Meta(description="read level when a request names none: lease, linearizable or eventual")
    ] = "lease"
    overrides: Annotated[
        tuple[Override, ...], Meta(description="other defaults: [{level, tags: [...]}, {level, app_id: ...}]")
    ] = ()
    append_bytes_max: Annotated[
        int, Meta(ge=1024, le=limits.FRAME_BYTES_MAX // 2, description="bytes of entries in one append")
    ] = limits.APPEND_BYTES_MAX
    disk_low_bytes: Annotated[
        int, Meta(ge=limits.DISK_HARD_BYTES, description="free disk below which writes answer 507")
    ] = limits.DISK_LOW_BYTES
    map_bytes: Annotated[
        int, Meta(ge=64 << 20, le=1 << 46, description="address space reserved for each LMDB file")
    ] = limits.MAP_BYTES
    search_threads: Annotated[int, Meta(ge=1, le=64, description="threads that search vectors")] = 2

    def __post_init__(self) -> None:
        if not self.rest_url:
            msgspec.structs.force_setattr(self, "rest_url", f"http://{self.rest}")
        tls = (self.peer_cert, self.peer_key, self.peer_ca)
        if any(tls) and not all(tls):
            raise ValueError("peer_cert, peer_key and peer_ca belong together: set all three, or none")
        _check_names(self)
        for name, address in (("rest", self.rest), ("peer", self.peer)):
            host, _ = split_address(address, name=name)
            if self.insecure or _is_loopback(host) or (name == "peer" and all(tls)):
                continue
            cure = "set peer_cert, peer_key and peer_ca" if name == "peer" else "listen on 127.0.0.1"
            raise ValueError(
                f"{name} = {address} is not loopback, and there is no authentication on it: anyone who can reach it "
                f"could read and write; {cure}, or set insecure = true on a network you trust"
            )
        timeout = limits.ELECTION_TIMEOUT_MS if self.election_timeout_ms is None else self.election_timeout_ms
        if self.heartbeat_ms * 3 > timeout:
            raise ValueError(
                f"heartbeat_ms = {self.heartbeat_ms} must be at most a third of election_timeout_ms = {timeout}"
            )
        if any(not rule.tags and rule == Override(level=rule.level) for rule in self.overrides):
            raise ValueError("an override names neither tags nor a scope id, so it would never apply")
        for host in self.allowed_hosts:
            if host != ANY_HOST and _HOST.fullmatch(host) is None:
                raise ValueError(f"allowed_hosts: {host!r} is no host name; leave out scheme, port and path")
        for origin in self.cors_origins:
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError(f"cors_origins: {origin!r} is no origin; write it as https://app.example")
        self._check_members()

    def hosts(self) -> tuple[str, ...]:
        """The hosts that REST answers as beside loopback: those of every address that is set here."""
        addresses = [self.rest, self.peer, *(voter.peer for voter in self.members)]
        urls = [self.rest_url, *(voter.rest_url for voter in self.members)]
        named = {split_address(address, name="address")[0] for address in addresses}
        named |= {urlsplit(url).hostname or "" for url in urls}
        return tuple(sorted({*(host.lower() for host in named), *self.allowed_hosts} - {""}))

    def answers_any_address(self) -> bool:
        """REST listens on every address of this machine, so each of them may be asked."""
        return split_address(self.rest, name="rest")[0] in ("0.0.0.0", "::", "")

    def _check_members(self) -> None:
        ids = [voter.id for voter in self.members]
        if len(ids) > limits.MEMBERS_MAX:
            raise ValueError(f"members names {len(ids)} voters, at most {limits.MEMBERS_MAX} are possible")
        if len(set(ids)) != len(ids):
            raise ValueError("members names an id twice")
        for voter in self.members:
            split_address(voter.peer, name=f"peer of member {voter.id}")
        if ids and self.node_id not in ids:
            raise ValueError(f"members names {', '.join(ids)}, but not this node_id {self.node_id}")
        if self.bootstrap and not ids:
            raise ValueError("bootstrap needs members: the voters of the new group")
        if self.bootstrap and self.cluster_id is None:
            raise ValueError("bootstrap needs cluster_id: 8 hex digits of your choice")
        if self.bootstrap and self.join is not None:
            raise ValueError("bootstrap makes a new group, join enters one: set one of them")

    def voters(self) -> tuple[Member, ...]:
        """The members as the log has them."""
        return tuple(Member(v.id, v.peer, v.rest_url, v.folder_id) for v in self.members)


def _check_names(settings: Settings) -> None:
    """Every name that may reach a log line, a path or another replica is one word of ASCII. Raises: ValueError."""
    ids = {"node_id": settings.node_id, "cluster_id": settings.cluster_id, "folder_id": settings.folder_id}
    for voter in settings.members:
        ids |= {f"id of member {voter.id!r}": voter.id, f"folder_id of member {voter.id!r}": voter.folder_id}
    for name, value in ids.items():
        if value is not None and not is_node_id(value):
            raise ValueError(f"{name} = {value!r} is not 1 to 64 letters, digits, dots, _ or -, nor . or .. alone")
    addresses = {"rest": settings.rest, "peer": settings.peer}
    addresses |= {f"peer of member {voter.id}": voter.peer for voter in settings.members}
    for name, address in addresses.items():
        if not address.isascii() or not address.isprintable() or " " in address:
            raise ValueError(f"{name} = {address!r} is not host:port of ASCII")
    urls = {"rest_url": settings.rest_url}
    for voter in settings.members:
        urls[f"rest_url of member {voter.id}"] = voter.rest_url
    for name, url in urls.items():
        check_rest_url(url, name=name)


def check_timing(settings: Settings, *, election_timeout_ms: int, clock_drift_ppm: int) -> None:
    """Obligation one-timing: these two are the group's own, settings may only repeat them. Raises: BadRequest."""
    for name, own, group in (
        ("election_timeout_ms", settings.election_timeout_ms, election_timeout_ms),
        ("clock_drift_ppm", settings.clock_drift_ppm, clock_drift_ppm),
    ):
        if own not in (None, group):
            raise BadRequest(f"{name} = {own}, but the group runs with {group}; leave it out", parameter=name)
    if settings.heartbeat_ms * 3 > election_timeout_ms:
        raise BadRequest(
            f"heartbeat_ms = {settings.heartbeat_ms} must be at most a third of the group's "
            f"election_timeout_ms = {election_timeout_ms}; set it lower",
            parameter="heartbeat_ms",
        )


class Loaded(NamedTuple):
    """`sources[name]`: `default`, `file <path>`, `environment <variable>` or `flag <flag>`."""

    settings: Settings
    sources: dict[str, str]


class SettingField(NamedTuple):
    name: str
    type: object
    required: bool
    description: str


def _describe(field: msgspec.structs.FieldInfo, hint: object) -> SettingField:
    notes = [note for note in get_args(hint)[1:] if isinstance(note, Meta)]
    return SettingField(field.name, hint, field.required, next((n.description or "" for n in notes), ""))


_hints = get_type_hints(Settings, include_extras=True)
FIELDS: Final = {f.name: _describe(f, _hints[f.name]) for f in msgspec.structs.fields(Settings)}
_STRUCTURED: Final = ("members", "overrides", "allowed_hosts", "cors_origins")  # JSON in the environment and in flags
_PATHS: Final = ("data", "peer_cert", "peer_key", "peer_ca", "peer_secret_file")


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def load(*, file: Path | None, environ: Mapping[str, str], flags: Mapping[str, str]) -> Loaded:
    """Flags (by setting name, as text) win over the environment, which wins over the TOML file.

    Raises: BadRequest naming the setting and its source.
    """
    values: dict[str, object] = {}
    sources = dict.fromkeys(FIELDS, "default")
    for name, value in (_read_file(file) if file is not None else {}).items():
        values[name], sources[name] = _checked(name, value, f"file {file}", strict=True), f"file {file}"
    for source, texts in (("environment", _read_environment(environ)), ("flag", flags)):
        for name, text in texts.items():
            where = f"{source} {PREFIX + name.upper() if source == 'environment' else flag_of(name)}"
            values[name], sources[name] = _checked(name, _parse(name, text, where), where, strict=False), where
    missing = [f"{flag_of(name)} (or {name} in the file)" for name in FIELDS if _is_missing(name, values)]
    if missing:
        raise BadRequest(f"not set: {', '.join(missing)}")
    try:
        return Loaded(msgspec.convert(values, Settings, strict=False, dec_hook=_decode_path), sources)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error


def _is_missing(name: str, values: Mapping[str, object]) -> bool:
    return FIELDS[name].required and name not in values


def _read_file(file: Path) -> dict[str, object]:
    try:
        values: dict[str, object] = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise BadRequest(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{file} is not TOML: {error}") from error
    for name in values:
        if name not in FIELDS:
            raise BadRequest(f"{file}: unknown setting {name}{_suggest(name)}", parameter=name)
    for name in _PATHS:
        path = values.get(name)
        if isinstance(path, str) and path:
            values[name] = str(file.parent / path)  # relative to the file, so that both can be moved together
    return values


def _read_environment(environ: Mapping[str, str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in CLIENT_VARIABLES or _FOREIGN.fullmatch(variable):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in FIELDS or variable != PREFIX + name.upper():
            hint = _suggest(name, form=lambda near: PREFIX + near.upper())
            raise BadRequest(f"environment: unknown setting {variable}{hint}", parameter=variable)
        texts[name] = text
    return texts


def _suggest(name: str, *, form: Callable[[str], str] = str) -> str:
    near = difflib.get_close_matches(name.lower(), FIELDS, n=1)
    return f"; did you mean {form(near[0])}?" if near else "; `raftmem config show` lists them all"


def _parse(name: str, text: str, where: str) -> object:
    if name not in _STRUCTURED:
        return text
    try:
        return strict_json.decode(text.encode("utf-8", "surrogateescape"), place="it")
    except BadRequest as error:
        raise BadRequest(f"{name} ({where}): {error}", parameter=name) from error


def _checked(name: str, value: object, where: str, *, strict: bool) -> object:
    try:
        msgspec.convert(value, FIELDS[name].type, strict=strict, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{name} = {value!r} ({where}): {error}", parameter=name) from error
    return value


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("expected a path")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown(name: str, value: object) -> object:
    """A value as people may see it: JSON types, and no password."""
    if name == "rest_url":
        return mask_url(str(value))
    plain: object = msgspec.to_builtins(value, enc_hook=str)
    return plain


def mask_url(url: str) -> str:
    """The address without the password it may carry."""
    return re.sub(r"(?<=//)[^/@]*@", "***@", url)
