"""The supervisor with small real children: what is started again, what is left down, what ends with what."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import pytest

from raftmem.cli.exits import Exit
from raftmem.cli.supervisor import Command, Supervisor, backoff

# A child that says it is there and ends when its parent does, as `raftmem serve --parent-pipe` does.
WAITS = "import os, sys; print('here', flush=True); os.read(int(sys.argv[1]), 1)"
STUBBORN = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('here', flush=True); signal.pause()"


def python(code: str) -> Callable[[int], list[str]]:
    return lambda parent_fd: [sys.executable, "-S", "-c", code, str(parent_fd)]


class Told:
    """Every line, and a way to wait for the one that matters."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._news = asyncio.Event()

    def say(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._news.set()

    async def until(self, count: int, text: str) -> None:
        async with asyncio.timeout(20):
            while sum(text in line for _, line in self.lines) < count:
                self._news.clear()
                await self._news.wait()


def run(scenario: Callable[[Told], object]) -> Told:
    async def body() -> Told:
        told = Told()
        result = scenario(told)
        assert asyncio.iscoroutine(result)
        await result
        return told

    return asyncio.run(body())


def test_child_that_dies_is_started_again() -> None:
    async def scenario(told: Told) -> None:
        supervisor = Supervisor([Command("n1", python("print('here'); raise SystemExit(1)"))], say=told.say)
        running = asyncio.create_task(supervisor.run())
        await told.until(2, "here")
        supervisor.stop()
        await running

    assert any("died with exit code 1" in line for _, line in run(scenario).lines)


def test_child_that_is_killed_is_started_again() -> None:
    async def scenario(told: Told) -> None:
        supervisor = Supervisor([Command("n1", python(WAITS))], say=told.say)
        running = asyncio.create_task(supervisor.run())
        await told.until(1, "here")
        os.kill(supervisor.pids["n1"], signal.SIGKILL)
        await told.until(2, "here")
        supervisor.stop()
        await running

    assert any("died with SIGKILL" in line for _, line in run(scenario).lines)


@pytest.mark.parametrize("code", [Exit.USAGE, Exit.STOPPED])
def test_child_that_ended_on_purpose_is_left_down_and_the_others_go_on(code: Exit) -> None:
    async def scenario(told: Told) -> None:
        ends = Command("n1", python(f"raise SystemExit({int(code)})"))
        supervisor = Supervisor([ends, Command("n2", python(WAITS))], say=told.say)
        running = asyncio.create_task(supervisor.run())
        await told.until(1, "left down")
        await told.until(1, "here")
        assert supervisor.down == {"n1"}
        assert set(supervisor.pids) == {"n2"}
        supervisor.stop()
        await running

    run(scenario)


def test_run_ends_when_every_child_is_down() -> None:
    async def scenario(told: Told) -> None:
        supervisor = Supervisor([Command("n1", python("raise SystemExit(1)"))], say=told.say, restart=False)
        await asyncio.wait_for(supervisor.run(), 20)
        assert supervisor.down == {"n1"}
        assert not supervisor.is_stopping

    run(scenario)


def test_lines_carry_the_name_of_their_replica_however_long_they_are() -> None:
    async def scenario(told: Told) -> None:
        commands = [
            Command("n1", python("print('x' * 200_000); print('done')")),
            Command("n2", python("import sys; print('err', file=sys.stderr); print('no newline', end='')")),
        ]
        await Supervisor(commands, say=told.say, restart=False).run()

    told = run(scenario)
    assert sum(len(line) for name, line in told.lines if name == "n1" and set(line) == {"x"}) == 200_000
    assert ("n1", "done") in told.lines
    assert ("n2", "err") in told.lines
    assert ("n2", "no newline") in told.lines


def test_child_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftmem.cli.supervisor.STOP_S_MAX", 0.2)

    async def scenario(told: Told) -> None:
        supervisor = Supervisor([Command("n1", python(STUBBORN))], say=told.say)
        running = asyncio.create_task(supervisor.run())
        await told.until(1, "here")
        supervisor.stop()
        await asyncio.wait_for(running, 20)

    assert any("killed" in line for _, line in run(scenario).lines)


def test_pause_doubles_up_to_its_bound_and_a_long_life_resets_it() -> None:
    pauses = [0.0]
    for _ in range(7):
        pauses.append(backoff(pauses[-1], uptime_s=0.1))
    assert pauses[1:] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff(5.0, uptime_s=10.0) == 0.2
