"""Namespaces: each fault of the network bites where it says, heals, and leaves nothing on the machine."""

import random
from collections.abc import Iterator

import pytest
from rooted_stage import check_whole, hit, staged

from jepsen_like.cluster.client import Client, Lost, Trouble, until
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.rooted import namespaces
from jepsen_like.nemeses.rooted.commands import missing, run
from jepsen_like.nemeses.rooted.network import Choke, NamespaceDown, NamespaceLoss, NamespaceOneWay, NamespacePartition
from jepsen_like.nemeses.standing import look
from jepsen_like.runs.world import World

REASON = namespaces.unavailable()
needs_namespaces = pytest.mark.skipif(REASON is not None, reason=str(REASON))
KINDS = (NamespacePartition, NamespaceOneWay, NamespaceLoss, NamespaceDown, Choke)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with staged(tmp_path_factory.mktemp("network"), [kind() for kind in KINDS]) as world:
        made = namespaces.of(world)
        yield world
    assert not set(made.names) & set(run("ip", "netns", "list").split())
    assert made.names[0].split("-")[1] not in run("ip", "-o", "link", "show")


def chains(world: World, name: str) -> dict[str, int]:
    """By replica that has this chain: how many packets it has dropped."""
    found: dict[str, int] = {}
    for replica in world.group.replicas:
        table = run(*replica.wrapper, "iptables", "-w", "-nvxL", "INPUT")
        if f" {name} " in table:
            rows = run(*replica.wrapper, "iptables", "-w", "-nvxL", name).splitlines()
            found[replica.id] = sum(int(row.split()[0]) for row in rows if " DROP " in row)
    return found


def struck_by(nemesis: Nemesis, world: World, seed: int = 1) -> Struck:
    struck = nemesis.begin(world, random.Random(seed))
    assert struck is not None
    return struck


def is_reached(replica: Served) -> bool:
    client = Client(replica.url, timeout_s=0.5)
    try:
        return client.ask("GET", "/livez").status == 200
    except Lost:
        return False
    finally:
        client.close()


@needs_namespaces
@pytest.mark.parametrize("kind", [NamespacePartition, NamespaceLoss])
def test_packets_are_dropped_at_every_replica_and_clients_still_reach_all(
    world: World, kind: type[NamespacePartition | NamespaceLoss]
) -> None:
    nemesis = kind()
    struck_by(nemesis, world)
    try:
        until(lambda: set(chains(world, kind.name)) == {"n1", "n2", "n3"}, what="every replica has its rules")
        until(lambda: all(chains(world, kind.name).values()), what="each drops packets", seconds=20)
        assert all(is_reached(replica) for replica in world.group.replicas)
    finally:
        nemesis.end(world)
    nemesis.end(world)
    assert chains(world, kind.name) == {}
    check_whole(world, kind.name)


@needs_namespaces
def test_one_way_only_those_who_are_not_to_hear_drop_packets(world: World) -> None:
    nemesis = NamespaceOneWay()
    struck = struck_by(nemesis, world)
    deaf = {"n1", "n2", "n3"} - set(struck.targets)
    try:
        until(lambda: chains(world, nemesis.name).keys() == deaf, what="the deaf have their rules")
        until(lambda: all(chains(world, nemesis.name).values()), what="they drop packets", seconds=20)
    finally:
        nemesis.end(world)
    check_whole(world, nemesis.name)


@needs_namespaces
def test_a_replica_without_its_cable_reaches_nobody_and_the_others_go_on(world: World) -> None:
    nemesis = NamespaceDown()
    struck = struck_by(nemesis, world)
    (alone,) = hit(world, struck)
    try:
        assert not is_reached(alone)
        others = [replica for replica in world.group.replicas if replica is not alone]
        until(lambda: any((seen := look(one, "/v1/cluster")) and seen.at("leader") for one in others), what="they lead")
        answer = world.group.writer("others", urls=[one.url for one in others]).write(
            "POST", "/v1/memories", {"value": 1}
        )
        assert answer is not None
        assert answer.status == 201
    finally:
        nemesis.end(world)
    check_whole(world, nemesis.name)


@needs_namespaces
def test_what_a_choked_replica_sends_waits_for_its_turn(world: World) -> None:
    nemesis = Choke()
    struck = struck_by(nemesis, world)

    def waits(replica: Served) -> bool:
        look(replica, "/v1/memories?limit=100&consistency=eventual")
        told = run("tc", "-s", "-n", replica.wrapper[-1], "qdisc", "show", "dev", "eth0")
        return "tbf" in told and "overlimits 0 " not in told

    try:
        for replica in hit(world, struck):
            until(lambda replica=replica: waits(replica), what=f"packets of {replica.id} wait", seconds=20)
    finally:
        nemesis.end(world)
    assert not any("tbf" in run("tc", "-n", one.wrapper[-1], "qdisc", "show") for one in world.group.replicas)
    check_whole(world, nemesis.name)


@needs_namespaces
def test_a_group_in_namespaces_refuses_relays_and_to_move_again(world: World) -> None:
    with pytest.raises(Trouble, match="has started"):
        world.group.move([])


def test_what_is_missing_is_named_with_the_package_that_has_it() -> None:
    reason = missing({"a-command-that-nobody-has": "a-package"})
    assert reason in ("it needs root", "a-command-that-nobody-has cannot be found: install a-package")
