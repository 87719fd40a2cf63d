"""What wrk is told, and what it says."""

from pathlib import Path

import pytest

from benchmarks.wrk import Failed, Request, connections, parse, script, write_requests

PRINTED = """Running 2s test @ http://127.0.0.1:21000
  1 threads and 64 connections
Requests/sec:   1310.21
RESULT requests=5234 duration_us=2003921 p50_us=11300 p99_us=40100 p999_us=61000 max_us=70250 \
status=2 connect=0 read=1 write=0 timeout=3
"""


def test_result_is_read_in_milliseconds_with_all_its_errors() -> None:
    found = parse(PRINTED)
    assert (found.requests, found.errors) == (5234, 6)
    assert (found.seconds, found.p50_ms, found.p99_ms, found.p999_ms, found.worst_ms) == pytest.approx(
        (2.003921, 11.3, 40.1, 61.0, 70.25)
    )


def test_output_without_a_result_is_a_failure_that_shows_it() -> None:
    with pytest.raises(Failed, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_result_that_lacks_a_figure_is_a_failure_that_names_it() -> None:
    with pytest.raises(Failed, match="lacks p99_us, timeout"):
        parse(PRINTED.replace(" p99_us=40100", "").replace(" timeout=3", ""))


@pytest.mark.parametrize(
    ("clients", "urls", "expected"), [(64, 1, 64), (64, 3, 63), (256, 3, 255), (1, 3, 3), (3, 3, 3)]
)
def test_connections_are_as_many_on_each_address(clients: int, urls: int, expected: int) -> None:
    assert connections(clients, urls) == expected


def test_script_names_every_address_and_the_file() -> None:
    text = script(["http://127.0.0.1:21000", "http://127.0.0.1:21001"], Path("/a/requests"))
    assert '{"127.0.0.1", "21000"}, {"127.0.0.1", "21001"}' in text
    assert 'io.lines("/a/requests")' in text
    assert "% 2" not in text
    assert "number / 2)" in text


def test_requests_are_a_line_each(tmp_path: Path) -> None:
    requests = [Request("GET", "/v1/memories/a?consistency=lease"), Request("POST", "/v3/kv/put", '{"key": "a"}')]
    lines = write_requests(tmp_path / "file", requests).read_text().splitlines()
    assert lines == ["GET /v1/memories/a?consistency=lease ", 'POST /v3/kv/put {"key": "a"}']
