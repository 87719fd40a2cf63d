"""A watch: what it delivers over streams that break, stall, end with a word or leave something out."""

import asyncio
import json

import httpx
import pytest
from client_world import URLS, Asked, Chunks, Dice, OwnedTime, Replicas, event, problem

from raftmem.client import (
    AsyncRaftmemClient,
    ClusterChanged,
    FutureIndex,
    IndexCompacted,
    RaftmemClient,
    Unreachable,
    Watch,
)

BROKEN = httpx.ReadError("reset")
STALLED = httpx.ReadTimeout("nothing came")


def line(index: int, prev: int | None = None, text: str = "") -> bytes:
    item = {
        "type": "entry",
        "index": index,
        "prev_index": prev,
        "events": [event(index=index, request_id=text or None)],
    }
    return json.dumps(item, ensure_ascii=False).encode() + b"\n"


def word(kind: str, index: int, **fields: object) -> bytes:
    return json.dumps({"type": kind, "index": index, **fields}).encode() + b"\n"


def stream(*pieces: bytes | Exception, cluster: str = "c/1") -> httpx.Response:
    return httpx.Response(200, stream=Chunks(*pieces), headers={"Raftmem-Cluster": cluster})


class World:
    """Replicas that give these streams, one by one; after the last one nobody answers."""

    def __init__(self, *streams: httpx.Response | Exception) -> None:
        left = list(streams)
        self.replicas = Replicas(lambda _asked: left.pop(0) if left else httpx.ConnectError("refused"))
        self.time = OwnedTime(jumps=True)
        self.client = RaftmemClient(URLS, transport=self.replicas, time=self.time, randomness=Dice(0.5))

    @property
    def asked(self) -> list[Asked]:
        return self.replicas.asked

    def watch(self, from_index: int | None) -> Watch:
        return self.client.watch(from_index, patience=5.0)

    def seen(self, from_index: int | None) -> list[int]:
        """All that comes until nobody answers any more."""
        indexes: list[int] = []
        with pytest.raises(Unreachable), self.watch(from_index) as watch:
            indexes.extend(entry.index for entry in watch)
        return indexes

    def places(self) -> list[str | None]:
        return [one.query.get("from") for one in self.asked]


@pytest.mark.parametrize(
    "end", [(), (BROKEN,), (STALLED,), (word("lagged", 12),), (word("goodbye", 12),), (b"{not json\n",)], ids=str
)
def test_stream_that_ends_however_goes_on_elsewhere_right_after_the_last_entry(
    end: tuple[bytes | Exception, ...],
) -> None:
    world = World(stream(line(10), line(12, 10), *end), stream(line(15, 12)))
    assert world.seen(9) == [10, 12, 15]
    assert world.places()[:3] == ["9", "13", "16"]
    assert world.asked[0].node != world.asked[1].node


def test_entry_cut_in_its_middle_is_asked_for_again_and_delivered_once() -> None:
    world = World(stream(line(10) + line(11, 10)[:20], BROKEN), stream(line(11, 10)))
    assert world.seen(10) == [10, 11]
    assert world.places()[1] == "11"


def test_pieces_may_be_cut_anywhere() -> None:
    whole = line(10, text="a\u2028b\x85c") + word("bookmark", 11) + line(12, 10)
    world = World(stream(*(whole[k : k + 1] for k in range(len(whole)))))
    with world.watch(10) as watch:
        first, second = next(watch), next(watch)
    assert (first.index, first.events[0].request_id, second.index) == (10, "a\u2028b\x85c", 12)


def test_replica_that_leaves_an_entry_out_is_left() -> None:
    world = World(stream(line(10), line(14, 12)), stream(line(12, 10), line(14, 12)))
    assert world.seen(10) == [10, 12, 14]
    assert world.places()[:2] == ["10", "11"]


def test_replica_that_repeats_is_not_believed_twice() -> None:
    world = World(stream(line(10)), stream(line(10), line(11, 10)))
    assert world.seen(10) == [10, 11]


def test_bookmark_moves_the_place_where_nothing_concerned_the_watch() -> None:
    world = World(stream(word("bookmark", 9), line(10), word("bookmark", 500)), stream(line(700, 10)))
    assert world.seen(10) == [10, 700]
    assert world.places()[:3] == ["10", "501", "701"]


def test_watch_from_now_resumes_from_where_now_was() -> None:
    world = World(stream(word("bookmark", 40), BROKEN), stream(line(44, 12)))
    assert world.seen(None) == [44]
    assert world.places()[:3] == [None, "41", "45"]


def test_reader_of_an_entry_then_reads_nothing_older() -> None:
    world = World(stream(line(10)))
    with world.watch(10) as watch:
        next(watch)
        assert world.client.index == 10


def test_what_is_no_longer_kept_is_raised_before_and_during_a_stream() -> None:
    with pytest.raises(IndexCompacted) as before:
        World(problem(410, "index-compacted", oldest_index=90)).seen(3)
    assert before.value.oldest_index == 90
    world = World(stream(line(10), word("compacted", 10, oldest_index=90)))
    with world.watch(10) as watch:
        assert next(watch).index == 10
        with pytest.raises(IndexCompacted) as during:
            next(watch)
    assert during.value.oldest_index == 90
    together = stream(line(10) + line(11, 10) + word("compacted", 11, oldest_index=90))
    with World(together, problem(410, "index-compacted", oldest_index=90)).watch(10) as watch:
        assert [next(watch).index, next(watch).index] == [10, 11]
        with pytest.raises(IndexCompacted):
            next(watch)


def test_restored_cluster_ends_the_watch_aloud() -> None:
    world = World(stream(line(10)), stream(line(3), cluster="c/2"))
    with world.watch(10) as watch:
        assert next(watch).index == 10
        with pytest.raises(ClusterChanged, match="begin again"):
            next(watch)


def test_index_that_does_not_exist_is_an_error_at_first_and_a_replica_behind_later() -> None:
    with pytest.raises(FutureIndex):
        World(problem(400, "future-index")).seen(10_000)
    world = World(stream(line(10)), problem(400, "future-index"), stream(line(11, 10)))
    assert world.seen(10) == [10, 11]


def test_full_replica_is_left_for_another_and_filters_go_with_every_request() -> None:
    world = World(problem(429, "too-many-requests"), stream(line(10)), stream(line(11)))
    with world.client.watch(5, lock="deploy/prod", tags=["a", "b"], app_id="shop", internal=True) as watch:
        assert [next(watch).index, next(watch).index] == [10, 11]
    wanted = {"lock": "deploy/prod", "include": "internal", "app_id": "shop"}
    assert all(one.tags == ["a", "b"] for one in world.asked)
    assert all(wanted.items() <= one.query.items() for one in world.asked)
    assert all(one.headers["accept"] == "application/x-ndjson" for one in world.asked)


def test_cancelled_reader_on_asyncio_goes_on_where_it_was() -> None:
    async def play() -> None:
        hangs = asyncio.Event()

        class Hanging(Chunks):
            async def __aiter__(self):  # type: ignore[no-untyped-def]  # as its parent
                yield line(10)
                hangs.set()
                await asyncio.Event().wait()

        streams = [
            httpx.Response(200, stream=Hanging(), headers={"Raftmem-Cluster": "c/1"}),
            stream(line(11, 10)),
        ]
        replicas = Replicas(lambda _asked: streams.pop(0))
        async with AsyncRaftmemClient(URLS, transport=replicas) as client, client.watch(10) as watch:
            assert (await anext(watch)).index == 10
            waiting = asyncio.ensure_future(anext(watch))
            await hangs.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await anext(watch)).index == 11
        assert [one.query["from"] for one in replicas.asked] == ["10", "11"]

    asyncio.run(play())
