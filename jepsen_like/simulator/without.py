"""Proofs that each obligation is needed: it is switched off, and then the simulator must notice.

`TABLE` says of each obligation what it keeps, and where its absence shows: on which seeds (at which level), in which
script of `tests/scenarios`, and as what. The rule that must hold: every row ends as it says; a
test runs them all. Those that no schedule can show (`no-pickle`, `authenticated-peers`, `one-timing`, `bounded`) have
ordinary tests alone.
"""

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from jepsen_like.simulator import campaign, scenario
from jepsen_like.simulator.off import SWITCHES, swapped
from jepsen_like.simulator.options import Level, Options, draw, flags

SCENARIOS: Final = Path(__file__).parents[2] / "tests" / "scenarios"


class Seeds(NamedTuple):
    """`expected`: a pattern that what broke must match. `agents`: how many use locks and tasks."""

    seeds: range
    expected: str
    level: Level = "tcp"
    agents: int = 0

    def schedules(self) -> list[Options]:
        return [replace(draw(seed, level=self.level), agents=self.agents) for seed in self.seeds]


class Script(NamedTuple):
    """`name`: of a file in `tests/scenarios`, without its ending."""

    name: str
    expected: str


class Row(NamedTuple):
    """`number`: in the list of obligations. `proofs`: each shows the absence by itself."""

    number: int
    keeps: str
    proofs: tuple[Seeds | Script, ...]


class Shown(NamedTuple):
    """A defect that was shown, and the command that shows it again; `what` is None when nothing broke."""

    proof: Seeds | Script
    what: str | None
    repeat: str


TABLE: Final[dict[str, Row]] = {
    "sync-before-promise": Row(
        1,
        "what a message promises (term, vote, entries) is on disk before it leaves",
        (Seeds(range(2), r"sends Vote\(.*, its disk has"), Script("vote_before_the_sync", "two leaders in term 1")),
    ),
    "durable-commit": Row(
        2,
        "nobody commits or applies past its own disk",
        (Seeds(range(2), "applies from .*, its disk ends at"),),
    ),
    "atomic-files": Row(
        3,
        "a cut of the log lowers what counts as on disk at once, and a sync begun before it cannot raise it again",
        (Script("cut_during_a_sync", "which is on the disks of"), Seeds(range(25, 26), "its disk ends at")),
    ),
    "checked-files": Row(
        4,
        "a state that may not have reached the disk is not trusted after a stop of the machine",
        (Seeds(range(2), "another digest than a replay"),),
    ),
    "truncate-on-conflict": Row(
        5,
        "only a real conflict cuts the log",
        (
            Seeds(range(3), "conflicts with the leader|no majority's disks", level="async"),
            Script("v2_late_answers", "the log of n2 has the terms"),
        ),
    ),
    "verified-commit": Row(
        6,
        "a follower commits no further than this append has verified",
        (
            Seeds(range(11, 12), "applies another entry", level="async"),
            Script("v1_unverified_tail", "was applied before"),
        ),
    ),
    "termed-answers": Row(
        7,
        "an answer counts only in the term in which it was made",
        (Script("claim_of_an_older_term", "which is on the disks of"),),
    ),
    "vote-set": Row(
        8,
        "each voter counts once",
        (Script("vote_counted_twice", "there are leaders"),),
    ),
    "whole-snapshots": Row(
        9,
        "a snapshot that is not needed takes nothing back",
        (
            Seeds(range(12), "must not take it back"),
            Script("v5_snapshot_to_an_up_to_date_follower", "the log of n3 has the terms"),
        ),
    ),
    "apply-once": Row(
        10,
        "an entry is applied in its order or not at all, whatever the disk says",
        (Seeds(range(57, 58), "applies .* after"),),
    ),
    "pre-vote": Row(
        11,
        "who cannot win does not raise its term",
        (Script("pre_vote_of_a_returning_replica", "the term of n3 is"),),
    ),
    "stickiness": Row(
        12,
        "nobody helps to unseat a leader that it has heard within an election timeout",
        (
            Seeds(range(104, 105), "holds a lease in term"),
            Script("lease_and_drift", "holds a lease in term 1, n2 leads"),
        ),
    ),
    "learn-terms": Row(
        13,
        "a higher term in any message is adopted",
        (Script("terms_apart", "there are leaders"),),
    ),
    "check-quorum": Row(
        14,
        "a leader that no majority answers makes way",
        (Script("leader_without_a_majority", "there are leaders"),),
    ),
    "transfer": Row(
        15,
        "a leader that told another to stand serves no read by its lease again in that term",
        (Seeds(range(65, 66), "holds a lease in term"), Script("transfer", "the newest answer at n1 is 3, not none")),
    ),
    "lease": Row(
        16,
        "a lease ends before another leader can be elected",
        (
            Seeds(range(10, 11), "holds a lease in term"),
            Script("lease_across_sigstop", "holds a lease in term 1, n2 leads"),
        ),
    ),
    "read-index": Row(
        17,
        "a linearizable read is confirmed by a round begun after it came",
        (Seeds(range(4, 5), "was applied before", level="async"), Script("read_by_an_old_round", "was applied before")),
    ),
    "membership": Row(
        21,
        "one change of the membership at a time, each after the one before it and an entry of this term are committed",
        (Script("membership_2015", "without the committed entry"),),
    ),
    "no-blind-retry": Row(
        22,
        "an answer to a question of an earlier life is no answer",
        (Script("v7_answer_to_an_earlier_life", "the client of b was told"),),
    ),
    "bounded-backtrack": Row(
        23,
        "a refusal only lowers the next index, and an old one changes nothing",
        (Script("v8_refusals_of_a_pipeline", "the network is not quiet"),),
    ),
    "no-amnesia": Row(
        24,
        "an emptied data folder does not speak under its old id",
        (
            Seeds(range(221, 222), "without the committed entry"),
            Script("v10_wiped_voter", "without the committed entry"),
        ),
    ),
    "expiry-saw": Row(
        26,
        "an expiry ends only what its leader saw: of its term, not renewed since, and due as the log has it",
        (Seeds(range(3, 7), "the hold of .* runs out", agents=8), Script("late_renewal", "deploy is held by nobody")),
    ),
    "log-time": Row(
        27,
        "leases go by log time: by the leaders' steady clocks, one after the other, whatever the wall clocks say",
        (
            Seeds(range(13, 15), "runs out .* after it was asked for", agents=8),
            Script("dead_holder_and_elections", "deploy is held by nobody"),
        ),
    ),
}


def listed() -> str:
    """A name and a sentence a line."""
    width = max(map(len, TABLE))
    return "\n".join(f"{name:{width}}  {row.keeps}" for name, row in TABLE.items())


def switched_off(name: str) -> AbstractContextManager[None]:
    """Raises: ValueError for a name that is not in the table."""
    if name not in TABLE:
        raise ValueError(f"no such obligation: {name}; --list-obligations lists them")
    return swapped(SWITCHES[name])


def prove(name: str, proof: Seeds | Script) -> Shown:
    """Run it with the obligation switched off."""
    with switched_off(name):
        if isinstance(proof, Script):
            outcome = scenario.run(SCENARIOS / f"{proof.name}.txt")
            what = None if outcome.violation is None else f"VIOLATION {outcome.violation}"
            return Shown(proof, what, f"--without {name}, tests/scenarios/{proof.name}.txt")
        for options in proof.schedules():
            result = campaign.one(options)
            if isinstance(result, campaign.Failed):
                repeat = f"python -m jepsen_like.simulator {flags(options)} --without {name}"
                return Shown(proof, f"{result.kind} {result.what}", repeat)
    return Shown(proof, None, "")


def is_as_expected(shown: Shown) -> bool:
    return shown.what is not None and re.search(shown.proof.expected, shown.what) is not None


def show(name: str) -> int:
    """All proofs of one row, told as they end. 1 when each showed what it should, which is what is wanted."""
    if name not in TABLE:
        raise ValueError(f"no such obligation: {name}; --list-obligations lists them")
    row, missing = TABLE[name], 0
    print(f"without {name} (obligation {row.number}): {row.keeps}")
    for proof in row.proofs:
        shown = prove(name, proof)
        if is_as_expected(shown):
            print(f"  {shown.what}\n    {shown.repeat}")
        else:
            missing += 1
            print(f"  NOT SHOWN by {proof}: {shown.what or 'everything held'}")
    return 0 if missing else 1
