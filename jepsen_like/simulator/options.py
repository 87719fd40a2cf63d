"""The options of one schedule: everything is drawn from its seed, and each field can be set by hand.

A field that is set does not change what is drawn for the others, so a failing seed can be varied one knob at a time.
"""

import random
from typing import Final, Literal

import msgspec
from msgspec import Struct

from raftmem.limits import LOCK_TTL_MS_MIN, MEMBERS_MAX

Level = Literal["tcp", "async"]
Mode = Literal["safety", "liveness"]
Store = Literal["memory", "lmdb", "files"]
AGENTS_MAX: Final = 100


class Options(Struct, frozen=True, kw_only=True):
    """Seconds are virtual. `rate_spread`: how much of the allowed drift the clocks use. `uneven`: how many times slower
    one link may be than another. `disorder`: share of messages that go astray (level async only). `pace`: mean time
    between two faults, in election timeouts. `wait`: election timeouts within which a healed group must have answered.
    `chunks`: a snapshot is sent in so many. `compact_entries`: a snapshot after so many; `keep_entries` stay in the
    log below it. `store`: the in-memory twins, the real stores on a memory file system, or those with real syncs.
    `agents`: clients that use locks and tasks, with leases of about `ttl`; 0: nobody does, and no leader ends any.
    `same_folder_id`: whoever empties a folder also gives it its old id again, so that only its birth tells.
    """

    seed: int
    level: Level = "tcp"
    mode: Mode = "safety"
    replicas: int = 3
    seconds: float = 30.0
    store: Store = "memory"
    election_timeout: float = 1.0
    heartbeat: float = 0.1
    drift: float = 0.01
    rate_spread: float = 1.0
    append_bytes_max: int = 1 << 20
    chunks: int = 1
    compact_entries: int = 1000
    keep_entries: int = 100
    sync_seconds: float = 0.001
    delay: float = 0.001
    uneven: float = 0.0
    disorder: float = 0.0
    pace: float = 2.0
    commands_per_second: float = 10.0
    burst: int = 1
    wait: float = 60.0
    same_folder_id: bool = False
    agents: int = 0
    ttl: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"n{number}" for number in range(1, self.replicas + 1))


def draw(
    seed: int,
    *,
    level: Level = "tcp",
    mode: Mode | None = None,
    replicas: int | None = None,
    seconds: float = 30.0,
    store: Store = "memory",
) -> Options:
    """The options of a seed. None: drawn too."""
    choose = random.Random(f"options {seed}")
    timeout = choose.choice([0.6, 1.0, 1.5, 2.5])
    drawn_mode: Mode = "liveness" if choose.random() < 0.25 else "safety"
    drawn_replicas = choose.choice([1, 3, 3, 3, 3, 3, 3, 5])
    delay = timeout * choose.choice([0.0005, 0.005, 0.03])
    compact = choose.choice([8, 8, 25, 60, 200, 1000])
    coordinate = random.Random(f"coordination {seed}")
    return Options(
        seed=seed,
        level=level,
        mode=mode or drawn_mode,
        replicas=replicas or drawn_replicas,
        seconds=seconds,
        store=store,
        election_timeout=timeout,
        heartbeat=timeout / choose.choice([3, 5, 8]),
        drift=choose.choice([0.001, 0.01, 0.1]),
        rate_spread=choose.choice([0.0, 1.0, 1.0]),
        append_bytes_max=choose.choice([40, 400, 4000, 1 << 20]),
        chunks=choose.choice([1, 8, 40]),
        compact_entries=compact,
        keep_entries=choose.choice([0, compact // 4, compact]),
        sync_seconds=timeout * choose.choice([0.0002, 0.004, 0.04]),
        delay=delay,
        uneven=choose.choice([0.0, 0.0, 2.0]),
        disorder=choose.choice([0.02, 0.1, 0.3]) if level == "async" else 0.0,
        pace=choose.choice([0.5, 1.0, 2.0]),
        commands_per_second=choose.choice([2.0, 5.0, 12.0]),
        burst=choose.choice([1, 10, 60]),
        wait=60.0,
        agents=coordinate.choice([0, 0, 3, 8]),
        ttl=timeout * coordinate.choice([0.5, 1.0, 3.0]),
    )


def overridden(options: Options, given: dict[str, str]) -> Options:
    """With fields set from text. Raises: ValueError for an unknown field or a value that does not fit."""
    unknown = given.keys() - {*Options.__struct_fields__}
    if unknown:
        raise ValueError(f"no such option: {', '.join(sorted(unknown))}")
    try:
        chosen = msgspec.convert({**msgspec.structs.asdict(options), **given}, Options, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    if not 1 <= chosen.replicas <= MEMBERS_MAX or chosen.seconds <= 0 or chosen.election_timeout <= 0:
        raise ValueError(f"1 to {MEMBERS_MAX} replicas, and seconds and timeouts above 0")
    if not 0 <= chosen.agents <= AGENTS_MAX or chosen.ttl * 1000 < LOCK_TTL_MS_MIN:
        raise ValueError(f"0 to {AGENTS_MAX} agents, and leases of {LOCK_TTL_MS_MIN} ms or more")
    return chosen


def flags(options: Options) -> str:
    """The command line that gives exactly these options."""
    plain = draw(options.seed, level=options.level)
    words = [f"--seeds {options.seed}", f"--level {options.level}"]
    for name in Options.__struct_fields__:
        value = getattr(options, name)
        if name not in ("seed", "level") and value != getattr(plain, name):
            words.append(f"--{name.replace('_', '-')} {value}")
    return " ".join(words)


def spelled_out(options: Options) -> str:
    """Every field, in one line."""
    return " ".join(f"{name}={value}" for name, value in msgspec.structs.asdict(options).items())
