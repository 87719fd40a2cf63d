"""The routes of the group, of snapshots, of health and metrics."""

from typing import Final

from raftmem.api.requests import memory_bodies
from raftmem.api.responses import memory_replies
from raftmem.api.routes import members, snapshots, status
from raftmem.api.schema.parts import BODY_ERRORS, CHANGE_ERRORS, NODE, Operation
from raftmem.api.table.route import Route

CLUSTER: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/v1/cluster",
        status.cluster,
        verb="cluster.read",
        hot=False,
        spec=Operation(
            "The group, as this replica sees it now.",
            {200: ("The group.", memory_replies.Cluster)},
            errors=("corrupt",),
        ),
    ),
    Route(
        "POST",
        "/v1/cluster/members",
        members.add,
        verb="cluster.admin",
        hot=False,
        spec=Operation(
            "Take a replica in: it is sent the log as a learner, without a vote, and becomes a voter by itself once "
            "it has "
            "caught up. With `replaces`, that voter leaves then. Again is harmless.",
            {
                201: ("A learner now; or its address or folder has changed.", memory_replies.MemberAdded),
                200: ("It stood like this already.", memory_replies.MemberAdded),
            },
            ("timeout_ms",),
            memory_bodies.NewMember,
            (*BODY_ERRORS, *CHANGE_ERRORS),
            ("Raftmem-Actor",),
        ),
    ),
    Route(
        "DELETE",
        "/v1/cluster/members/{id}",
        members.remove,
        verb="cluster.admin",
        hot=False,
        spec=Operation(
            "Remove a replica, for good: its id never comes back. Refused when the voters that are left and alive "
            "would be "
            "no majority.",
            {200: ("It is no member any more.", memory_replies.MemberRemoved)},
            ("timeout_ms",),
            errors=CHANGE_ERRORS,
            request_headers=("Raftmem-Actor",),
            named=NODE,
        ),
    ),
    Route(
        "POST",
        "/v1/cluster/leader",
        members.transfer,
        verb="cluster.admin",
        hot=False,
        spec=Operation(
            "Have another voter lead: the one that is named, or the one that is furthest.",
            {200: ("It leads now.", memory_replies.LeaderMoved)},
            ("timeout_ms",),
            memory_bodies.NewLeader,
            (*BODY_ERRORS, "no-leader", "shutting-down", "corrupt", "not-found", "wrong-state", "too-many-requests"),
            body_required=False,
        ),
    ),
    Route(
        "POST",
        "/v1/admin/snapshot",
        snapshots.take,
        verb="cluster.admin",
        hot=False,
        spec=Operation(
            "Take a snapshot of this replica's state as of now, while writes go on.",
            {201: ("It is on this replica's disk.", memory_replies.SnapshotTaken)},
            ("timeout_ms",),
            errors=("no-space", "consistency-timeout", "too-many-requests", "shutting-down", "corrupt"),
        ),
    ),
    Route(
        "GET",
        "/v1/admin/snapshots",
        snapshots.many,
        verb="cluster.read",
        hot=False,
        spec=Operation(
            "The snapshots on this replica's disk, newest first.",
            {200: ("All of them.", memory_replies.SnapshotList)},
            errors=("corrupt",),
        ),
    ),
    Route(
        "GET",
        "/livez",
        status.livez,
        verb="open",
        hot=False,
        spec=Operation("Whether this process answers.", {200: ("It does.", memory_replies.Live)}),
    ),
    Route(
        "GET",
        "/readyz",
        status.readyz,
        verb="open",
        hot=False,
        spec=Operation(
            "Whether a real read at the default level succeeds here.",
            {200: ("Ready.", memory_replies.Ready), 503: ("Not ready.", memory_replies.Ready)},
            ("timeout_ms",),
        ),
    ),
    Route(
        "GET",
        "/metrics",
        status.metrics,
        verb="cluster.read",
        hot=False,
        spec=Operation(
            "Prometheus text: etcd's names where the thing is the same, with the prefix raftmem_.",
            {200: ("The numbers.", None)},
            media_types=("text/plain",),
        ),
    ),
)
