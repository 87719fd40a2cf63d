"""`raftmem lock run`: what the command is given, how it ends, and what is left of it when the lock is lost."""

import contextlib
import os
import re
import select
import signal
import sys
import threading
from io import RawIOBase
from pathlib import Path

import pytest
from cli_world import Cli, on_terminal, running
from scripted_group import Asked, Body, Reply, ScriptedGroup, event, problem

from raftmem.cli.child import Inbox, Note, run
from raftmem.cli.exits import Exit

NAME = "deploy/prod"
PATIENCE_S = 20
LOCK_RUN = (sys.executable, "-m", "raftmem", "lock", "run", NAME)


class OneLock:
    """The routes of one lock on a scripted group. `renewals`: the status of each, the last for ever."""

    def __init__(self, group: ScriptedGroup, *, owner: str | None = None) -> None:
        self.group = group
        self.owner = owner  # who has it, if it is taken
        self.is_lost = threading.Event()
        self.events: list[str] = []
        group.replies["POST /v1/locks/deploy%2Fprod/acquire"] = self._acquire
        group.replies["POST /v1/locks/renew"] = self._renew
        group.replies["POST /v1/locks/deploy%2Fprod/release"] = self._release

    def _acquire(self, asked: Asked) -> Reply:
        assert asked.body is not None
        if self.owner is not None:
            return problem(409, "lock-held", "held by somebody#1", retryable=True, retry_after_ms=10)
        self.events.append("acquired")
        granted = event("LOCK_ACQUIRE", lock=NAME, token=12)
        return 200, {"name": NAME, "owner": asked.body["owner"], "token": 12, "remaining_ms": 300, "event": granted}

    def _renew(self, asked: Asked) -> Reply:
        assert asked.body is not None
        one: Body = {"name": NAME, "owner": asked.body["owner"], "token": 12, "remaining_ms": 300, "event": None}
        if self.is_lost.is_set():
            status, told = problem(409, "stale-token", "token 12 is over", current_token=14)
            one |= {"remaining_ms": None, "error": {**told, "status": status}}
        return 200, {"locks": [{"error": None, **one}]}

    def _release(self, _: Asked) -> Reply:
        self.events.append("released")
        free = {"name": NAME, "permits": 1, "holders": [], "queue": []}
        return 200, {"lock": free, "event": event("LOCK_RELEASE", lock=NAME, token=12)}


@pytest.fixture
def one_lock(scripted: ScriptedGroup) -> OneLock:
    return OneLock(scripted)


def python(text: str) -> tuple[str, ...]:
    return "--", sys.executable, "-c", text


def test_command_runs_with_its_token_and_the_lock_is_given_back(one_lock: OneLock, cli: Cli) -> None:
    says = "import os; print(os.environ['RAFTMEM_LOCK'], os.environ['RAFTMEM_TOKEN'], os.environ['RAFTMEM_OWNER'])"
    ended = cli("lock", "run", NAME, "--owner", "me#1", *python(says))
    assert (ended.code, ended.out, ended.err) == (0, "deploy/prod 12 me#1\n", "")
    assert one_lock.events == ["acquired", "released"]


def test_exit_code_is_that_of_the_command(one_lock: OneLock, cli: Cli) -> None:
    assert cli("lock", "run", NAME, *python("raise SystemExit(7)")).code == 7
    killed = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert cli("lock", "run", NAME, *killed).code == 128 + signal.SIGKILL
    assert one_lock.events == ["acquired", "released"] * 2


def test_lock_that_is_not_had_in_time_is_code_4_and_nothing_runs(scripted: ScriptedGroup, cli: Cli) -> None:
    one_lock = OneLock(scripted, owner="somebody#1")
    ended = cli("lock", "run", NAME, "--wait", "0", *python("print('ran')"))
    assert (ended.code, ended.out, one_lock.events) == (Exit.PRECONDITION, "", [])
    assert ended.err == "raftmem: not run: held by somebody#1\n"


def test_command_that_cannot_run_asks_for_no_lock(one_lock: OneLock, cli: Cli, tmp_path: Path) -> None:
    assert cli("lock", "run", NAME, "--", "no-such-program-here").code == 127
    plain = tmp_path / "plain"
    plain.write_text("")
    assert cli("lock", "run", NAME, "--", str(plain)).code == 126
    assert one_lock.group.asked == []


def test_script_without_its_interpreter_is_code_126_and_gives_the_lock_back(
    one_lock: OneLock, cli: Cli, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    for text in ("echo ran\n", "#!/no/such/shell\necho ran\n"):
        script.write_text(text)
        script.chmod(0o755)
        ended = cli("lock", "run", NAME, "--", str(script))
        assert (ended.code, ended.out) == (126, "")
        assert "a script needs a #! line" in ended.err
    assert one_lock.events == ["acquired", "released"] * 2


def test_command_is_ended_with_all_it_started_when_the_lock_is_lost(
    one_lock: OneLock, cli: Cli, tmp_path: Path
) -> None:
    fifo = tmp_path / "alive"  # read to its end when the last of the group is gone
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    one_lock.is_lost.set()
    shell = f"exec 3>{fifo}; trap '' TERM; (trap '' TERM; exec sleep 1000) & echo begun; wait; exec sleep 1000"
    ended = cli("lock", "run", NAME, "--ttl", "0.3", "--grace", "0.1", "--", "sh", "-c", shell)
    assert ended.code == Exit.PRECONDITION
    lines = ended.err.splitlines()
    assert "did not end within 0.1 s" in lines[-2]
    assert re.fullmatch(r"raftmem: sh was ended: .*deploy/prod.*token 12.*", lines[-1])
    os.set_blocking(reading, True)
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert "released" not in one_lock.events  # it was not ours any more


# --- the wrapper dies ---------------------------------------------------------------------------------
def test_command_and_all_it_started_end_when_lock_run_is_killed(one_lock: OneLock, tmp_path: Path) -> None:
    fifo = tmp_path / "alive"  # read to its end when the last of the group is gone
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    shell = f"exec 3>{fifo}; trap '' TERM; (trap '' TERM; exec sleep 1000) & echo begun; wait; exec sleep 1000"
    with running(*LOCK_RUN, "--grace", "0.1", "--", "sh", "-c", shell) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.kill()
    os.set_blocking(reading, True)
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert one_lock.events == ["acquired"]  # it runs out by itself


@pytest.mark.skipif(sys.platform != "linux", reason="the system has no parent-death signal")
def test_command_ends_even_when_its_guard_is_killed_with_lock_run(one_lock: OneLock) -> None:
    says = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with running(*LOCK_RUN, *python(says)) as process:
        assert process.stdout is not None
        group = int(process.stdout.readline())
        (guard,) = guards_of(group)
        os.kill(guard, signal.SIGKILL)
        process.kill()
        assert process.stdout.read() == b""  # nobody has it any more
    assert one_lock.events == ["acquired"]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
def test_guard_goes_with_a_command_that_ends_and_ends_nothing_it_left_behind(one_lock: OneLock) -> None:
    with running(*LOCK_RUN, "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $! $$") as process:
        assert process.stdout is not None
        left, group = map(int, process.stdout.readline().split())
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout.read() == b""  # the guard does not keep it either
    while guards_of(group):
        pass
    os.kill(left, signal.SIGKILL)  # raises if it is gone
    assert one_lock.events == ["acquired", "released"]


def test_command_gets_the_bytes_of_its_arguments(one_lock: OneLock) -> None:
    with running(*LOCK_RUN, "--", "printf", "%s", "\udcff\udcfe --json") as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"\xff\xfe --json"
    assert one_lock.events == ["acquired", "released"]


def guards_of(group: int) -> list[int]:
    """The guards in a process group."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            of = int((process / "stat").read_text().rpartition(")")[2].split()[2])
            if of == group and b"guard.py" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


# --- the child alone --------------------------------------------------------------------------------
def test_command_that_heeds_sigterm_is_not_killed_and_inherits_files() -> None:
    inbox, said = Inbox(), list[str]()
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)

    def end_it() -> None:
        os.read(reading, 1)
        inbox.put(Note.MUST_END)

    threading.Thread(target=end_it, daemon=True).start()
    says = f"import os, signal; signal.signal(15, lambda *_: exit(3)); os.write({writing}, b'.'); signal.pause()"
    argv, say = (sys.executable, "-c", says), said.append
    code = run(argv, environ=os.environ, inbox=inbox, is_over=lambda: False, grace_s=PATIENCE_S, say=say)
    assert (code, said) == (3, [])
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(number: signal.Signals, one_lock: OneLock) -> None:
    says = f"import signal; signal.signal({number:d}, lambda *_: exit(9)); print('ready', flush=True); signal.pause()"
    with running(*LOCK_RUN, *python(says)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 9
    assert one_lock.events == ["acquired", "released"]


def test_waiting_that_is_interrupted_runs_nothing(scripted: ScriptedGroup) -> None:
    waiting = threading.Event()

    def never(_: Asked) -> Reply:
        waiting.set()
        threading.Event().wait(PATIENCE_S)
        return problem(409, "lock-held")

    scripted.replies["POST /v1/locks/deploy%2Fprod/acquire"] = never
    with running(*LOCK_RUN, *python("print('ran')")) as process:
        assert waiting.wait(PATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGINT
        assert process.stdout is not None
        assert process.stdout.read() == b""


def test_command_has_the_terminal_and_can_be_suspended(one_lock: OneLock) -> None:
    says = "print('ready', flush=True); print('got', input(), flush=True); raise SystemExit(5)"
    with on_terminal(*LOCK_RUN, *python(says)) as (pid, both):
        said = read_until(both, b"ready")
        both.write(b"\x1a")  # Ctrl-Z
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]), said
        os.kill(pid, signal.SIGCONT)
        both.write(b"hello\n")
        read_until(both, b"got hello")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert one_lock.events == ["acquired", "released"]


def test_command_that_was_suspended_past_its_lease_does_not_go_on() -> None:
    says = "import signal; print('ready', flush=True); signal.pause(); print('went on', flush=True)"
    runs = (
        "import os, sys; from raftmem.cli.child import Inbox, run; raise SystemExit(run((sys.executable, '-c', "
        f"{says!r}), environ=os.environ, inbox=Inbox(), is_over=lambda: True, grace_s={PATIENCE_S}, say=print))"
    )
    with on_terminal(sys.executable, "-c", runs) as (pid, both):
        read_until(both, b"ready")
        both.write(b"\x1a")
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        os.kill(pid, signal.SIGCONT)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGTERM


def read_until(terminal: RawIOBase, wanted: bytes) -> bytes:
    said = b""
    while wanted not in said:
        ready, _, _ = select.select([terminal], [], [], PATIENCE_S)
        assert ready, said
        said += terminal.read(4096) or b""
    return said
