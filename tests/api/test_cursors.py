"""Cursors: unreadable, taken by every replica of the group, and by nobody for anything else."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import httpx
import pytest
from api_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from raftmem.api.app import create_app
from raftmem.api.http.sealed import KEY_BYTES, TAG_BYTES, Sealer, key_from

SECRET = b"of the group"
LISTS = [
    "/v1/memories?limit=1",
    "/v1/memories/top-secret-id-1/history?limit=1",
    "/v1/events?limit=1&from=101",
    "/v1/locks?limit=1",
    "/v1/tasks?limit=1",
    "/v1/gates?limit=1",
]
each_list = pytest.mark.parametrize("path", LISTS)


def filled(secret: bytes | None = SECRET) -> World:
    """A world in which each list has two pages."""
    world = World()
    world.app = create_app(world.service, group_secret=secret)
    for n in range(2):
        world("PUT", f"/v1/memories/top-secret-id-{n}", {"text": "x"})
        world("PATCH", "/v1/memories/top-secret-id-1", {"text": f"x{n}"})
        world("POST", f"/v1/locks/top-secret-{n}/acquire", {"owner": "o", "ttl_ms": 60_000})
        world("POST", "/v1/tasks", {"queue": "top-secret", "id": f"t{n}"})
        world("PUT", f"/v1/gates/top-secret-{n}", {"required": 1})
    return world


def first_cursor(world: World, path: str) -> str:
    cursor = world("GET", path).json()["next_cursor"]
    assert isinstance(cursor, str), path
    return cursor


def following(world: World, path: str, cursor: str) -> httpx.Response:
    return world("GET", f"{path}&cursor={cursor}")


def refused(world: World, path: str, cursor: str) -> bool:
    reply = following(world, path, cursor)
    return (reply.status_code, reply.json().get("parameter")) == (400, "cursor")


@each_list
def test_cursor_of_one_replica_is_taken_by_another(path: str) -> None:
    one, other = filled(), filled()
    cursor = first_cursor(one, path)
    assert following(other, path, cursor).content == following(one, path, cursor).content
    assert following(one, path, cursor).status_code == 200


@each_list
def test_cursor_is_refused_under_another_secret_or_in_another_cluster(path: str) -> None:
    cursor = first_cursor(filled(), path)
    assert refused(filled(b"of another group"), path, cursor)
    assert refused(filled(None), path, cursor)
    restored = filled()
    restored.service.cluster = "5f2a9c01/2"
    assert refused(restored, path, cursor)


@each_list
def test_cursor_shows_nothing_of_what_was_looked_at(path: str) -> None:
    sealed = urlsafe_b64decode(first_cursor(filled(), path) + "==")
    assert b"secret" not in sealed
    assert len(sealed) % 32 == TAG_BYTES


@each_list
def test_cursor_with_one_bit_changed_is_refused(path: str) -> None:
    world = filled()
    sealed = urlsafe_b64decode(first_cursor(world, path) + "==")
    for at in range(len(sealed)):
        changed = bytes([*sealed[:at], sealed[at] ^ 1 << at % 8, *sealed[at + 1 :]])
        assert refused(world, path, urlsafe_b64encode(changed).rstrip(b"=").decode()), at


@each_list
def test_cursor_that_is_no_cursor_is_refused(path: str) -> None:
    world = filled()
    cursor = first_cursor(world, path)
    for made in ("", "x", "A" * 64, cursor[:-4], cursor + "AAAA", cursor + "%3D", cursor[:20], "%C3%A9", "A" * 4000):
        assert refused(world, path, made), made


def test_cursor_of_one_list_is_refused_by_all_others() -> None:
    world = filled()
    cursors = {path: first_cursor(world, path) for path in LISTS}
    for path in LISTS:
        assert [refused(world, path, cursor) for cursor in cursors.values()] == [other != path for other in LISTS]


def test_cursor_belongs_to_the_list_however_its_path_is_spelled() -> None:
    world = filled()
    cursor = first_cursor(world, "/v1/lo%63ks?limit=1")
    assert following(world, "/v1/locks?limit=1", cursor).json()["locks"][0]["name"] == "top-secret-1"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=400), st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=100))
def test_sealed_text_opens_with_its_key_and_context_and_with_no_other(
    text: bytes, context: bytes, other: bytes, noise: bytes
) -> None:
    sealer = Sealer(key_from(b"secret", b"purpose"))
    sealed = sealer.seal(text, context)
    assert sealer.open(sealed, context) == text
    with pytest.raises(ValueError, match="not sealed here"):
        Sealer(key_from(b"secret", b"another")).open(sealed, context)
    if other != context:
        with pytest.raises(ValueError, match="not sealed here"):
            sealer.open(sealed, other)
    with pytest.raises(ValueError, match="not sealed here"):
        sealer.open(noise, context)


def test_texts_of_about_one_length_are_sealed_to_one_length() -> None:
    sealer = Sealer(bytes(KEY_BYTES))
    assert {len(sealer.seal(bytes(size), b"")) for size in range(31)} == {TAG_BYTES + 32}
