"""Mutual TLS of the peer port (authenticated-peers): whose certificate counts, for whom, and from when on."""

import asyncio
import logging
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from peer_world import LOOPS, NOWHERE, PATIENCE, Node, Raw, dial, hello, members, run, stop

from raftmem.errors import BadRequest
from raftmem.lifecycle import certs
from raftmem.raft import messages as m
from raftmem.raft.transport import frames, peer_set
from raftmem.raft.transport.frames import Bye
from raftmem.raft.transport.tls import PeerTls

EVERY_LOOP = pytest.mark.parametrize("loop", LOOPS)
NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=400)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ours: n1, n2, n3 and an expired n2 under one authority; theirs: the same ids under another."""
    folder = tmp_path_factory.mktemp("sets")
    certs.make(folder / "ours", ["n1", "n2", "n3"], cluster="c1c1c1c1", days=9, now=NOW)
    certs.make(folder / "theirs", ["n1", "n2", "n3"], cluster="c1c1c1c1", days=9, now=NOW)
    (folder / "expired").mkdir()
    for half in certs.files(folder / "ours", certs.AUTHORITY):
        (folder / "expired" / half.name).write_bytes(half.read_bytes())
    certs.make(folder / "expired", ["n2"], cluster="c1c1c1c1", days=1, now=LONG_AGO)
    return folder


@pytest.fixture(autouse=True)
def never_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lesser id does not get to dial within a test."""
    monkeypatch.setattr(peer_set, "LESSER_SECONDS", 1000.0)


def tls(folder: Path, name: str) -> PeerTls:
    cert, key = certs.files(folder, name)
    return PeerTls(cert=cert, key=key, ca=folder / "ca.pem")


def context(side: int, folder: Path, name: str | None) -> ssl.SSLContext:
    """Of a peer played by hand, which checks nobody."""
    made = ssl.SSLContext(side)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if name is not None:
        made.load_cert_chain(*certs.files(folder, name))
    return made


async def call(port: int, secured: ssl.SSLContext) -> Raw:
    return Raw(*await asyncio.open_connection("127.0.0.1", port, ssl=secured, server_hostname=""))


def serial(raw: Raw) -> bytes:
    """The certificate that the other end showed."""
    shown = raw.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(shown, bytes)
    return shown


def der(cert: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(cert.read_text())


def replace(target: Path, name: str, source: Path) -> None:
    """Put another authority and another certificate in place, each file at once."""
    for file in ("ca.pem", f"{name}.key", f"{name}.pem"):
        (target / "new").write_bytes((source / file).read_bytes())
        os.replace(target / "new", target / file)


def copied(tmp_path: Path, name: str, source: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    replace(folder, name, source)
    return folder


@EVERY_LOOP
def test_replicas_with_certificates_of_one_authority_meet_and_speak(loop: str, sets: Path) -> None:
    async def test() -> None:
        one, two = Node("n1", tls=tls(sets / "ours", "n1")), Node("n2", tls=tls(sets / "ours", "n2"))
        both = members({"n1": one.port, "n2": two.port})
        await one.start(both)
        await two.start(both)
        assert await one.next() == ("connected", "n2", b"")
        assert await two.next() == ("connected", "n1", b"")
        await two.hears(one, "n2", m.Refuse(1))
        await one.hears(two, "n1", m.Forward(1, bytes(300_000)))
        one.peers.set_removed(["n2"])
        assert (await two.next())[:2] == ("removed", "n1")
        assert await one.next() == ("disconnected", "n2", b"")
        await stop(one, two)

    run(test(), loop)


@EVERY_LOOP
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        pytest.param("theirs", "n2", id="another authority"),
        pytest.param("expired", "n2", id="expired"),
        pytest.param("ours", None, id="no certificate"),
    ],
)
def test_a_caller_without_a_sound_certificate_never_gets_to_greet(
    folder: str, name: str | None, loop: str, sets: Path
) -> None:
    async def test() -> None:
        node = await Node("n1", tls=tls(sets / "ours", "n1")).start(members({"n1": NOWHERE, "n2": NOWHERE}))
        raw = await call(node.port, context(ssl.PROTOCOL_TLS_CLIENT, sets / folder, name))
        raw.say(hello("n2", "n1"))
        with pytest.raises((OSError, EOFError)):  # an alert, or the end, and no greeting before
            await raw.hear()
        assert node.events.empty()
        assert node.births == {}
        good = await call(node.port, context(ssl.PROTOCOL_TLS_CLIENT, sets / "ours", "n2"))
        good.say(hello("n2", "n1"))
        assert await good.hear() == hello("n1", "n2")
        assert await node.next() == ("connected", "n2", b"")
        await stop(node)

    run(test(), loop)


@EVERY_LOOP
def test_a_caller_with_the_certificate_of_another_replica_is_told_so(loop: str, sets: Path) -> None:
    async def test() -> None:
        node = await Node("n1", tls=tls(sets / "ours", "n1")).start(members({"n1": NOWHERE, "n2": NOWHERE}))
        raw = await call(node.port, context(ssl.PROTOCOL_TLS_CLIENT, sets / "ours", "n3"))
        raw.say(hello("n2", "n1"))
        answer = await raw.hear()
        assert answer == Bye("its certificate is for n3, not for n2")
        assert await raw.is_closed()
        assert node.events.empty()
        assert node.births == {}
        await stop(node)

    run(test(), loop)


@EVERY_LOOP
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, None])
def test_a_caller_with_older_tls_or_without_it_is_cut(version: ssl.TLSVersion | None, loop: str, sets: Path) -> None:
    async def test() -> None:
        node = await Node("n1", tls=tls(sets / "ours", "n1")).start(members({"n1": NOWHERE, "n2": NOWHERE}))
        if version is None:
            raw = await dial(node.port)
            raw.say(hello("n2", "n1"))
            assert await raw.is_closed()
        else:
            older = context(ssl.PROTOCOL_TLS_CLIENT, sets / "ours", "n2")
            older.maximum_version = version
            with pytest.raises(OSError):  # noqa: PT011  # its kind is the library's
                await call(node.port, older)
        assert node.events.empty()
        await stop(node)

    run(test(), loop)


@EVERY_LOOP
@pytest.mark.parametrize(
    ("folder", "name", "complaint"),
    [
        pytest.param("theirs", "n2", "certificate verify failed", id="another authority"),
        pytest.param("expired", "n2", "certificate has expired", id="expired"),
        pytest.param("ours", "n1", "its certificate is for n1, not for n2", id="another replica"),
        pytest.param(None, "n2", "cannot connect", id="no TLS"),
    ],
)
def test_whoever_answers_a_call_without_the_right_certificate_is_not_greeted(
    folder: str | None, name: str, complaint: str, loop: str, sets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        calls: asyncio.Queue[bytes] = asyncio.Queue()

        async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if folder is None:
                writer.write(frames.frame(frames.encode(hello(name, "n3"))))
            calls.put_nowait(await reader.read())
            writer.close()

        secured = None if folder is None else context(ssl.PROTOCOL_TLS_SERVER, sets / folder, name)
        server = await asyncio.start_server(called, "127.0.0.1", 0, ssl=secured)
        node = Node("n3", tls=tls(sets / "ours", "n3"))
        complaints = Complaints()
        logging.getLogger("raftmem.peers").addHandler(complaints)
        await node.start(members({"n2": server.sockets[0].getsockname()[1], "n3": NOWHERE}))
        assert complaint in await asyncio.wait_for(complaints.said.get(), PATIENCE)
        logging.getLogger("raftmem.peers").removeHandler(complaints)
        if name == "n1":
            heard = await asyncio.wait_for(calls.get(), PATIENCE)
            assert frames.decode_greeting(heard[4:]) == Bye(complaint)
        assert node.events.empty()
        await stop(node)
        server.close()

    with caplog.at_level(logging.CRITICAL, logger="asyncio"):
        run(test(), loop)


class Complaints(logging.Handler):
    """Lines of the log as they come."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.put_nowait(record.getMessage())


@EVERY_LOOP
def test_replaced_certificates_count_for_the_next_call_and_not_for_what_is_connected(
    loop: str, sets: Path, tmp_path: Path
) -> None:
    async def test() -> None:
        folder = copied(tmp_path, "n1", sets / "ours")
        node = await Node("n1", tls=tls(folder, "n1")).start(members({"n1": NOWHERE, "n2": NOWHERE, "n3": NOWHERE}))
        old, new = (context(ssl.PROTOCOL_TLS_CLIENT, sets / name, "n2") for name in ("ours", "theirs"))
        before = await call(node.port, old)
        assert serial(before) == der(sets / "ours" / "n1.pem")
        before.say(hello("n2", "n1"))
        assert await before.hear() == hello("n1", "n2")
        assert await node.next() == ("connected", "n2", b"")
        replace(folder, "n1", sets / "theirs")
        late = await call(node.port, old)
        assert await late.is_closed()  # the old authority counts no more
        before.writer.write(frames.frame(m.encode(m.Refuse(1))))
        assert await node.next() == ("received", "n2", m.encode(m.Refuse(1)))
        after = await call(node.port, new)
        assert serial(after) == der(sets / "theirs" / "n1.pem")
        after.say(hello("n2", "n1"))
        assert await after.hear() == hello("n1", "n2")
        await stop(node)

    run(test(), loop)


@EVERY_LOOP
def test_replaced_certificates_count_for_the_next_call_that_is_made(loop: str, sets: Path, tmp_path: Path) -> None:
    async def test() -> None:
        folder = copied(tmp_path, "n2", sets / "theirs")
        one, two = Node("n1", tls=tls(sets / "ours", "n1")), Node("n2", tls=tls(folder, "n2"))
        both = members({"n1": one.port, "n2": two.port})
        complaints = Complaints()
        logging.getLogger("raftmem.peers").addHandler(complaints)
        await one.start(both)
        await two.start(both)
        while "cannot connect" not in await asyncio.wait_for(complaints.said.get(), PATIENCE):
            pass
        logging.getLogger("raftmem.peers").removeHandler(complaints)
        assert one.events.empty()
        replace(folder, "n2", sets / "ours")
        assert await two.next() == ("connected", "n1", b"")
        assert await one.next() == ("connected", "n2", b"")
        await stop(one, two)

    run(test(), loop)


def test_a_set_that_does_not_load_leaves_the_one_before_in_force_and_is_told_once(
    sets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(tmp_path, "n1", sets / "ours")
    secured = tls(folder, "n1")
    server, client = secured.server(), secured.client()
    (folder / "n1.pem").write_bytes((sets / "theirs" / "n1.pem").read_bytes())  # without its key yet
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert (secured.server(), secured.client()) == (server, client)
    assert [("n1.pem" in record.getMessage(), "stay in force" in record.getMessage()) for record in caplog.records] == [
        (True, True)
    ]
    replace(folder, "n1", sets / "theirs")
    assert secured.server() is not server
    (folder / "ca.pem").unlink()
    renewed = secured.client()
    assert renewed is secured.client()


@pytest.mark.parametrize("broken", ["missing", "garbled", "other key"])
def test_a_set_that_does_not_load_at_the_start_is_refused(broken: str, sets: Path, tmp_path: Path) -> None:
    folder = copied(tmp_path, "n1", sets / "ours")
    match broken:
        case "missing":
            (folder / "ca.pem").unlink()
        case "garbled":
            (folder / "n1.pem").write_bytes(b"no certificate")
        case _:
            (folder / "n1.key").write_bytes((sets / "ours" / "n2.key").read_bytes())
    with pytest.raises(BadRequest, match=r"cannot load .*n1\.pem"):
        tls(folder, "n1")
