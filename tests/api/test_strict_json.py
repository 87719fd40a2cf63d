"""The fast checks of incoming JSON against a slow and obvious reading of the same rules."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftmem.api.http import strict_json
from raftmem.errors import BadRequest
from raftmem.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**53 - 1, 2**53, -(2**53), 10**15]),
    st.floats(allow_nan=False, allow_infinity=False),
)
STRINGS = st.text(alphabet=st.sampled_from(':"\\{}[],a1é\n\0'), max_size=6)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS.map(json.dumps), STRINGS.map(json.dumps))


def quoted(text: str) -> str:
    """Every character as an escape."""
    return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'


KEYS = st.sampled_from(["a", "b", ":", "c:d"]).flatmap(lambda key: st.sampled_from([json.dumps(key), quoted(key)]))


def members(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(KEYS, inner).map(lambda pair: f"{pair[0]}: {pair[1]}")
    return st.lists(pairs, max_size=3).map(lambda found: "{" + ",".join(found) + "}")


def texts() -> st.SearchStrategy[str]:
    """JSON texts, with repeated keys among them."""
    leaf = LEAVES.map(lambda leaf: leaf if isinstance(leaf, str) else json.dumps(leaf))
    return st.recursive(
        leaf, lambda inner: st.one_of(members(inner), st.lists(inner, max_size=3).map(lambda x: f"[{','.join(x)}]"))
    )


def allowed(text: str) -> bool:
    """The rules, plainly."""
    ok = True

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal ok
        ok = ok and len(dict(found)) == len(found)
        return dict(found)

    def integer(digits: str) -> int:
        nonlocal ok
        ok = ok and abs(int(digits)) <= JSON_INTEGER_MAX
        return int(digits)

    json.loads(text, object_pairs_hook=pairs, parse_int=integer)
    return ok


@settings(max_examples=400, deadline=None, derandomize=True)
@given(texts())
def test_fast_checks_agree_with_the_plain_reading(text: str) -> None:
    if allowed(text):
        assert strict_json.decode(text.encode()) == json.loads(text)
    else:
        with pytest.raises(BadRequest):
            strict_json.decode(text.encode())


@pytest.mark.parametrize(
    ("opening", "closing", "levels"),
    [("[", "]", 1), ('{"a":', "}", 1), ('[{"a":', "}]", 2), ('["[[[",0,', "]", 1)],
)
def test_depth_is_counted_whatever_the_nesting_is_made_of(opening: str, closing: str, levels: int) -> None:
    fits = JSON_DEPTH_MAX // levels
    strict_json.decode((opening * fits + "1" + closing * fits).encode())
    with pytest.raises(BadRequest, match="nested deeper than 64"):
        strict_json.decode((opening * (fits + 1) + "1" + closing * (fits + 1)).encode())


@pytest.mark.parametrize("place", [0, 50, 99])
def test_depth_is_found_among_many_that_are_not_deep(place: int) -> None:
    items = ['{"a":[1,{}]}'] * 100
    inner = JSON_DEPTH_MAX - 2
    items[place] = "[" * inner + '{"a":1}' + "]" * inner
    strict_json.decode(f"[{','.join(items)}]".encode())
    items[place] = f"[{items[place]}]"
    with pytest.raises(BadRequest, match="nested deeper than 64"):
        strict_json.decode(f"[{','.join(items)}]".encode())


def test_key_order_and_number_text_survive_as_compact_json() -> None:
    assert (
        strict_json.encode(strict_json.decode(b'{ "b": 1, "a": [1.50, -0.0, 1e2] }')) == b'{"b":1,"a":[1.5,-0.0,100.0]}'
    )


@pytest.mark.parametrize("escape", ["", '"\\u0061":1,'])
def test_one_repeated_key_among_many_is_found_in_one_pass(escape: str) -> None:
    """Looked for by comparing each key with each other, this would take hours and not end in the time of a test."""
    keys = [f'"k{n}":0' for n in range(400_000)]
    for repeated in ('"k0":1', '"k399999":1'):
        with pytest.raises(BadRequest, match=r"'k(0|399999)' stands twice"):
            strict_json.decode(f"{{{escape}{','.join([*keys, repeated])}}}".encode())


def test_places_under_a_long_key_are_not_written_out() -> None:
    tracemalloc.start()
    try:
        inner = ",".join(f'"k{n}":0' for n in range(20_000))
        with pytest.raises(BadRequest) as caught:
            strict_json.decode(f'{{"{"x" * 500_000}":{{{inner},"last":{2**60}}}}}'.encode())
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.parameter is not None
    assert len(caught.value.parameter) < 1000
