"""wrk as the load: a file of requests, played round and round over a number of connections; its figures parsed.

Every request is put together before the run, so that a request costs wrk next to nothing, for every system alike. A
reply counts as an error unless its status is 2xx. wrk looks at the status alone, so work whose failure stands in the
body is not for it. wrk adds latencies for requests that a slow reply kept from being sent, for all systems alike.
Durations are whole seconds, as wrk takes them.
"""

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S: Final = 10
SCRIPT: Final = """
local places, thread_number = {%(places)s}, 0
function setup(thread)
  local place = places[thread_number %% #places + 1]
  thread.addr = wrk.lookup(place[1], place[2])[1]
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end

local requests, at = {}, 0
function init(args)
  local json = {["Content-Type"] = "application/json"}
  for line in io.lines("%(file)s") do
    local method, path, body = line:match("^(%%S+) (%%S+) ?(.*)$")
    if body == "" then body = nil end
    requests[#requests + 1] = wrk.format(method, path, body and json or {}, body)
  end
  at = math.floor(#requests * number / %(threads)d)
end

function request()
  at = at %% #requests + 1
  return requests[at]
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT requests=%%d duration_us=%%d p50_us=%%d p99_us=%%d p999_us=%%d max_us=%%d " ..
    "status=%%d connect=%%d read=%%d write=%%d timeout=%%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max,
    e.status, e.connect, e.read, e.write, e.timeout))
end
"""
_FIELDS: Final = ("requests", "duration_us", "p50_us", "p99_us", "p999_us", "max_us")
_ERRORS: Final = ("status", "connect", "read", "write", "timeout")


class Failed(Exception):
    """wrk ended without a result."""


class Request(NamedTuple):
    method: str
    path: str
    body: str = ""


class Outcome(NamedTuple):
    """`requests` were answered, `errors` of them (or beside them) in vain. `cpu_s`: of wrk itself."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    worst_ms: float
    errors: int
    cpu_s: float


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def write_requests(path: Path, requests: Iterable[Request]) -> Path:
    """A line each; a body has no line ends, as JSON may not have any."""
    with path.open("w") as file:
        file.writelines(f"{method} {target} {body}\n" for method, target, body in requests)
    return path


def parse(printed: str) -> Outcome:
    """Parses the output of `done`. Raises: Failed."""
    line = next((line for line in printed.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise Failed(f"wrk printed no result:\n{printed}")
    told = {name: int(value) for name, _, value in (pair.partition("=") for pair in line.split()[1:])}
    missing = [name for name in (*_FIELDS, *_ERRORS) if name not in told]
    if missing:
        raise Failed(f"wrk's result lacks {', '.join(missing)}: {line}")
    return Outcome(
        requests=told["requests"],
        seconds=told["duration_us"] / 1e6,
        p50_ms=told["p50_us"] / 1e3,
        p99_ms=told["p99_us"] / 1e3,
        p999_ms=told["p999_us"] / 1e3,
        worst_ms=told["max_us"] / 1e3,
        errors=sum(told[name] for name in _ERRORS),
        cpu_s=0.0,
    )


def script(urls: Sequence[str], requests: Path) -> str:
    addresses = [urlsplit(url) for url in urls]
    places = ", ".join(f'{{"{address.hostname}", "{address.port}"}}' for address in addresses)
    return SCRIPT % {"places": places, "file": requests, "threads": len(urls)}


def connections(clients: int, urls: int) -> int:
    """wrk gives every thread as many: the most that are not above `clients`, and one a thread at least."""
    return max(urls, clients // urls * urls)


def run(urls: Sequence[str], requests: Path, *, clients: int, seconds: int) -> Outcome:
    """One thread an address. Raises: Failed."""
    before = children_s()
    with running(urls, requests, clients=clients, seconds=seconds) as process:
        printed, said = process.communicate()
    if process.returncode:
        raise Failed(f"wrk ended with {process.returncode}: {said.strip() or printed.strip()}")
    return parse(printed)._replace(cpu_s=children_s() - before)


@contextmanager
def running(urls: Sequence[str], requests: Path, *, clients: int, seconds: int) -> Iterator["subprocess.Popen[str]"]:
    """wrk beside other work; ended with it."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script(urls, requests))
        file.flush()
        command = ["wrk", f"-t{len(urls)}", f"-c{connections(clients, len(urls))}", f"-d{seconds}s"]
        command += ["--timeout", f"{TIMEOUT_S}s", "-s", file.name, urls[0]]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def children_s() -> float:
    """CPU of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
