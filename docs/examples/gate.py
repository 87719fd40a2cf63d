"""A gate in front of a release: two people approve, on the ground of one test result. Another result closes it.

    python gate.py http://127.0.0.1:8101,http://127.0.0.1:8102,http://127.0.0.1:8103

Approvals are given for what was known at the time. The gate is pinned to it: the change of a pinned memory closes the
gate in the very entry that changes it, so nobody can go through between the change and somebody's noticing.
"""

import sys

from raftmem.client import RaftmemClient, WrongState

GATE = "release/1.4"
TESTS = "test-result-1.4"


def main(endpoints: str) -> None:
    with (
        RaftmemClient(endpoints, actor="service/ci") as ci,
        RaftmemClient(endpoints, actor="user/mia") as mia,
        RaftmemClient(endpoints, actor="user/bo") as bo,
        RaftmemClient(endpoints, actor="agent/deployer") as deployer,
    ):

        def ask_for_approval() -> None:
            result = deployer.memories.get(TESTS)
            deployer.gates.put(GATE, required=2, approvers=["user/mia", "user/bo"], pins=[result])
            mia.gates.approve(GATE, comment="read the diff")
            print(f"one approval: open is {deployer.gates.get(GATE).open}")
            bo.gates.approve(GATE)
            print(f"two approvals: open is {deployer.gates.wait_open(GATE, wait=10).open}")

        ci.memories.put(TESTS, value={"passed": 512, "failed": 0})
        ask_for_approval()

        # A nightly run finds something. The approvals were not given for this.
        ci.memories.put(TESTS, value={"passed": 511, "failed": 1})
        print(f"the test result has changed: open is {deployer.gates.get(GATE).open}")
        try:
            deployer.gates.consume(GATE)
        except WrongState:
            print("the deployer cannot go through")

        # It is mended, and they approve again, on the ground of the new result.
        ci.memories.put(TESTS, value={"passed": 512, "failed": 0})
        ask_for_approval()

        # Go through and say so, together or not at all. Of all who try this, one succeeds.
        done = deployer.txn(
            guards=[{"gate": GATE, "open": True}],
            then=[
                {"op": "GATE_CONSUME", "name": GATE},
                {"op": "ADD", "text": "1.4 is released", "app_id": "shop", "tags": ["release"]},
            ],
        )
        print(f"released: {done.succeeded}")
        again = deployer.txn(guards=[{"gate": GATE, "open": True}], then=[{"op": "GATE_CONSUME", "name": GATE}])
        print(f"a second time: {again.succeeded}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8101")
