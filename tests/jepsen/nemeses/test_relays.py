"""The relays by themselves: what is held, delayed or cut between two ends, each way, and what comes of it."""

import itertools
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from jepsen_like.cluster.links import HOST, Links, Passage

HELD = Passage(held=True)
THERE, BACK = ("n1", "n2"), ("n2", "n1")
MOMENT_S = 0.2  # in which what is not held has long arrived


@pytest.fixture
def links() -> Iterator[Links]:
    made = Links()
    try:
        yield made
    finally:
        made.close()


class Ends:
    """n1 has called n2 over a relay: a socket at each end."""

    def __init__(self, links: Links) -> None:
        self._listening = socket.create_server((HOST, 0))
        self.port = links.open("n1", "n2", (HOST, self._listening.getsockname()[1]))
        self.n1, self.n2 = self.connect()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        near = socket.create_connection((HOST, self.port), timeout=10)
        far, _ = self._listening.accept()
        far.settimeout(10)
        return near, far

    def close(self) -> None:
        for end in (self.n1, self.n2, self._listening):
            end.close()


@pytest.fixture
def ends(links: Links) -> Iterator[Ends]:
    made = Ends(links)
    try:
        yield made
    finally:
        made.close()


def arrives(end: socket.socket, *, within_s: float = 10.0) -> bytes | None:
    """None: nothing did."""
    end.settimeout(within_s)
    try:
        return end.recv(100)
    except TimeoutError:
        return None


def test_bytes_held_one_way_pass_the_other_way_and_arrive_when_let_go(links: Links, ends: Ends) -> None:
    held = links.lay({THERE: HELD})
    ends.n1.sendall(b"there")
    ends.n2.sendall(b"back")
    assert arrives(ends.n1) == b"back"
    assert arrives(ends.n2, within_s=MOMENT_S) is None
    links.lift(held)
    assert arrives(ends.n2) == b"there"


def test_what_two_faults_hold_passes_only_when_both_are_lifted(links: Links, ends: Ends) -> None:
    first, second = links.lay({THERE: HELD}), links.lay({THERE: HELD, BACK: HELD})
    ends.n1.sendall(b"there")
    links.lift(second)
    assert arrives(ends.n2, within_s=MOMENT_S) is None
    links.lift(first)
    assert arrives(ends.n2) == b"there"


def test_the_end_of_a_connection_is_held_too_and_comes_behind_what_was_sent(links: Links, ends: Ends) -> None:
    with links.held("n2"):
        ends.n1.sendall(b"last words")
        ends.n1.close()
        assert arrives(ends.n2, within_s=MOMENT_S) is None
    assert arrives(ends.n2) == b"last words"
    assert arrives(ends.n2) == b""


def test_who_calls_while_held_reaches_the_other_only_when_let_go(links: Links, ends: Ends) -> None:
    held = links.lay({THERE: HELD})
    met: list[tuple[socket.socket, socket.socket]] = []
    calling = threading.Thread(target=lambda: met.append(ends.connect()))
    calling.start()
    calling.join(MOMENT_S)
    assert not met
    links.heal()
    calling.join(10)
    near, far = met[0]
    near.sendall(b"hello")
    assert arrives(far) == b"hello"
    links.lift(held)
    near.close()
    far.close()


def test_delayed_bytes_arrive_in_order_and_late_with_jitter_too(links: Links, ends: Ends) -> None:
    links.lay({THERE: Passage(delay_ms=60, jitter_ms=80)})
    began = time.monotonic()
    for number in range(40):
        ends.n1.sendall(number.to_bytes(1, "big"))
        time.sleep(0.001)  # so that each is a piece of its own
    found = b""
    while len(found) < 40:
        found += arrives(ends.n2) or b""
    assert found == bytes(range(40))
    assert time.monotonic() - began >= 0.06


def test_a_delay_costs_time_and_no_throughput(links: Links, ends: Ends) -> None:
    """Megabytes are on their way at once, more than what the sockets themselves take."""
    links.lay({THERE: Passage(delay_ms=60_000)})
    ends.n1.sendall(bytes(12 << 20))
    assert arrives(ends.n2, within_s=MOMENT_S) is None


def test_megabytes_pass_whole_and_in_order(links: Links, ends: Ends) -> None:
    links.lay({THERE: Passage(delay_ms=5)})
    whole = bytes(range(256)) * (1 << 15)
    sending = threading.Thread(target=ends.n1.sendall, args=(whole,))
    sending.start()
    found = bytearray()
    while len(found) < len(whole):
        found += ends.n2.recv(1 << 20)
    sending.join()
    assert bytes(found) == whole


def test_a_cut_breaks_off_connections_and_refuses_new_ones_until_it_is_lifted(links: Links, ends: Ends) -> None:
    cut = links.lay({BACK: Passage(cut=True)})
    for end in (ends.n1, ends.n2):
        assert was_broken_off(end)
    for _ in range(3):
        with socket.create_connection((HOST, ends.port), timeout=10) as near:
            assert was_broken_off(near)
    links.lift(cut)
    near, far = ends.connect()
    near.sendall(b"again")
    assert arrives(far) == b"again"
    near.close()
    far.close()


def was_broken_off(end: socket.socket) -> bool:
    try:
        return arrives(end) == b""
    except ConnectionResetError:
        return True


def test_a_fault_where_no_way_is_known_is_refused_whole(links: Links, ends: Ends) -> None:
    with pytest.raises(KeyError):
        links.lay({THERE: HELD, ("n1", "n9"): HELD})
    ends.n1.sendall(b"there")
    assert arrives(ends.n2) == b"there"
    assert links.ways == frozenset(itertools.permutations(("n1", "n2")))
