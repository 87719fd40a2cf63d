"""`raftmem up`: a group of replicas on loopback from one command, its data under one folder."""

import asyncio
import functools
import os
import secrets
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TextIO

import httpx
import typer
from rich.console import Console
from rich.text import Text

from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.group import Group, Layout, Replica, open_group, remove_permit, without_leavers
from raftmem.cli.options import json_text
from raftmem.cli.output import JsonFlag, console, printable
from raftmem.cli.ports import PORT_WAIT_S, check_ports
from raftmem.cli.supervisor import Command, Supervisor, serve_argv
from raftmem.cli.surroundings import private_files
from raftmem.runtime.outlet import Outlet

POLL_S: Final = 0.1
HINT_AFTER_S: Final = 20.0
_COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "red", "bright_cyan", "bright_magenta", "bright_green")
Say = Callable[[str, str], None]


def up(
    replicas: Annotated[
        int | None, typer.Option("--replicas", help="Number of replicas (3, or what the folder holds).")
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="Folder of the group; created if missing.")] = Path(".raftmem"),
    port: Annotated[
        int | None, typer.Option("--port", help="REST port of n1 (8101); n2 takes the next, peer ports are 1000 above.")
    ] = None,
    no_restart: Annotated[
        bool, typer.Option("--no-restart", help="Do not start a replica again that has died.")
    ] = False,
    as_json: JsonFlag = False,
) -> int:
    """Start a group on this machine, or resume the one in the folder. Ctrl-C stops it."""
    layout = Layout(data)
    private_files(data)
    lock = layout.lock()
    try:
        group, is_new = open_group(layout, replicas=replicas, port=port, token=secrets.token_hex)
        group, left_out = without_leavers(layout, group)
        if not group.replicas:
            raise CommandFailed(f"{layout.data}: all its replicas were removed from their group; use another --data")
        check_ports(layout, group, wait_s=0.0 if is_new else PORT_WAIT_S)
        screen = Screen()
        try:
            return asyncio.run(_run(layout, group, left_out, screen, restart=not no_restart, as_json=as_json))
        finally:
            screen.close()
    finally:
        os.close(lock)


async def _run(
    layout: Layout, group: Group, left_out: dict[str, str], screen: "Screen", *, restart: bool, as_json: bool
) -> int:
    say = _teller(group, screen, as_json=as_json)
    for replica_id, why in left_out.items():
        say("up", f"{replica_id} stays down: {why}")
    supervisor = Supervisor([_command(layout, replica) for replica in group.replicas], say=say, restart=restart)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup goes on without a terminal
            loop.add_signal_handler(number, supervisor.stop)
    announcing = asyncio.create_task(_announce(layout, group, supervisor, say, screen, as_json=as_json))
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait((announcing, running), return_when=asyncio.FIRST_COMPLETED)
    if announcing.done() and announcing.exception() is not None:
        supervisor.stop()
    await running
    announcing.cancel()
    await asyncio.wait((announcing,))
    if not announcing.cancelled():
        announcing.result()
    if not supervisor.is_stopping:
        raise CommandFailed("no replica is running any more; the lines above say why")
    say("up", "stopped; the same command goes on where this ended")
    return Exit.OK


def _command(layout: Layout, replica: Replica) -> Command:
    def argv(parent_fd: int) -> list[str]:
        is_first = layout.permit(replica).exists()
        return serve_argv(str(layout.settings(replica)), parent_fd=parent_fd, bootstrap=is_first)

    return Command(replica.id, argv)


async def _announce(
    layout: Layout, group: Group, supervisor: Supervisor, say: Say, screen: "Screen", *, as_json: bool
) -> None:
    """Wait until every replica that is not down is ready, then say where they are."""
    loop = asyncio.get_running_loop()
    hint_at = loop.time() + HINT_AFTER_S
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
        while True:
            states = [await _look(client, layout, replica) for replica in group.replicas]
            up_now = [r for r in group.replicas if r.id not in supervisor.down]
            if up_now and all(state for state, r in zip(states, group.replicas, strict=True) if r in up_now):
                break
            if loop.time() > hint_at:
                waiting = [r.id for r, state in zip(group.replicas, states, strict=True) if not state]
                say("up", f"still waiting for {', '.join(waiting)} to be ready")
                hint_at = loop.time() + HINT_AFTER_S
            await asyncio.sleep(POLL_S)
        leader = await _leader(client, up_now[0])
    if as_json:
        ready = _ready_json(layout, group, supervisor, leader)
        screen.print_json(ready)
    else:
        _print_ready(layout, group, supervisor, leader, screen)


async def _look(client: httpx.AsyncClient, layout: Layout, replica: Replica) -> bool:
    """Ask if a replica is ready. Its first answer uses up its permit to bootstrap: its folder is a voter now."""
    try:
        response = await client.get(f"{replica.rest_url}/readyz")
    except httpx.TransportError:
        return False
    remove_permit(layout, replica)
    return response.status_code == 200


async def _leader(client: httpx.AsyncClient, replica: Replica) -> str | None:
    try:
        response = await client.get(f"{replica.rest_url}/readyz")
    except httpx.TransportError:
        return None
    leader: str | None = response.headers.get("Raftmem-Leader")
    return leader


def _ready_json(layout: Layout, group: Group, supervisor: Supervisor, leader: str | None) -> dict[str, object]:
    replicas = [
        {
            "id": replica.id,
            "url": replica.rest_url,
            "peer": replica.peer,
            "data": str(layout.folder(replica)),
            "pid": supervisor.pids.get(replica.id),
        }
        for replica in group.replicas
    ]
    return {"ready": True, "cluster_id": group.cluster_id, "leader": leader, "replicas": replicas}


def _print_ready(layout: Layout, group: Group, supervisor: Supervisor, leader: str | None, screen: "Screen") -> None:
    """Print a line a replica, and no table: an address that is cut is of no use."""
    screen.print(Text(f"raftmem {group.cluster_id} is ready", style="bold green"))
    roles = {replica.id: _role(replica.id, supervisor, leader) for replica in group.replicas}
    wide = max(map(len, roles))
    for replica in group.replicas:
        line = f"  {replica.id:<{wide}}  {roles[replica.id]:<8}  {replica.rest_url}  peers {replica.peer}"
        screen.print(Text(printable(f"{line}  {layout.folder(replica)}")))
    screen.print(Text("Try, in another terminal:", style="bold"))
    for line in commands_to_try(layout, group):
        screen.print(Text(f"  {line}"))
    screen.print(Text(f"API: {group.replicas[0].rest_url}/docs    stop: Ctrl-C"))


def _role(replica_id: str, supervisor: Supervisor, leader: str | None) -> str:
    if replica_id in supervisor.down:
        return "down"
    return "leader" if replica_id == leader else "follower"


def commands_to_try(layout: Layout, group: Group) -> list[str]:
    """Return three lines for a shell in this folder: write on one replica, read on another, read the log."""
    program = _program()
    first, last = group.replicas[0], group.replicas[-1]
    return [
        f'{program} memory add "Prod deploys are frozen until 18:00" --tag deploy --url {first.rest_url}',
        f"curl -s '{last.rest_url}/v1/memories?tag=deploy'",
        f"{program} log list --live --data {shlex.quote(str(layout.folder(first)))}",
    ]


def _program() -> str:
    """Return how to call this program again from here."""
    called = Path(sys.argv[0])
    if called.name != "raftmem" or not called.exists():
        return f"{shlex.quote(sys.executable)} -m raftmem"
    found = shutil.which("raftmem")
    if found is not None and Path(found).samefile(called):
        return "raftmem"
    try:
        return shlex.quote(str(called.absolute().relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(called.absolute()))


class Screen:
    """stdout and stderr of a group's supervisor, which waits for no reader and outlives each."""

    def __init__(self) -> None:
        self._consoles = [console(file=_own(stream, number)) for number, stream in ((1, sys.stdout), (2, sys.stderr))]
        self.out, self.err = (Outlet(functools.partial(_tell_lost, screen)) for screen in self._consoles)

    def print(self, text: Text, *, stderr: bool = False) -> None:
        (self.err if stderr else self.out).put(lambda: self._consoles[stderr].print(text, soft_wrap=True))

    def print_json(self, value: object) -> None:
        """One line on stdout."""
        line = json_text(value)
        self.out.put(lambda: self._consoles[0].out(line, highlight=False))

    def close(self) -> None:
        self.out.close()
        self.err.close()


def _own(stream: TextIO, number: int) -> TextIO:
    """The same place, without the lock of the stream: a write that hangs does not hang the end of the process."""
    return os.fdopen(os.dup(number), "w", encoding=stream.encoding, errors="replace")


def _tell_lost(screen: Console, lost: int) -> None:
    screen.print(f"up | {lost} lines were dropped: nobody reads them", markup=False)


def _teller(group: Group, screen: Screen, *, as_json: bool) -> Say:
    """Merged logs, each line under its replica's name; on stderr when stdout is for JSON."""
    colours = {replica.id: _COLOURS[k % len(_COLOURS)] for k, replica in enumerate(group.replicas)}
    width = max(len(name) for name in (*colours, "up"))

    def say(name: str, line: str) -> None:
        text = Text.assemble((f"{name:<{width}} | ", colours.get(name, "bold")), printable(line))
        screen.print(text, stderr=as_json)

    return say
