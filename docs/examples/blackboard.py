"""A blackboard: agents that know nothing of each other react to what others write on it.

    python blackboard.py http://127.0.0.1:8101,http://127.0.0.1:8102,http://127.0.0.1:8103

Each agent watches for its own kind of note, from an index of the log on. The watch goes on at another replica when one
dies, without a gap or a repeat. An agent that is started again begins where it likes; since the id of what it writes
follows from what it read, it cannot write it twice.
"""

import contextlib
import sys
import threading
import uuid
from collections.abc import Callable

from raftmem.client import AlreadyExists, Memory, RaftmemClient

QUESTIONS = ["Who owns the freeze?", "Which services are in it?", "When does it end?"]
React = Callable[[RaftmemClient, Memory], None]


def agent(endpoints: str, name: str, board: str, start: int, tag: str, react: React) -> None:
    """Reacts to each note with this tag, until the summary is on the board."""
    with (
        RaftmemClient(endpoints, actor=f"agent/{name}") as client,
        client.watch(start, run_id=board, op="ADD", outcome="applied") as entries,
    ):
        for entry in entries:
            for event in entry.events:
                note = client.memories.get(str(event.memory_id))  # never older than the entry just seen
                if tag in note.tags:
                    react(client, note)
                if "summary" in note.tags:
                    return


def write(client: RaftmemClient, board: str, id: str, tag: str, text: str) -> None:
    with contextlib.suppress(AlreadyExists):  # written before this agent was started again
        client.memories.add(text=text, id=id, run_id=board, tags=[tag])


def main(endpoints: str) -> None:
    board = f"board-{uuid.uuid4()}"

    def answer(client: RaftmemClient, question: Memory) -> None:
        write(client, board, f"{question.id}.answer", "finding", f"{question.text} I looked it up.")

    def sum_up(client: RaftmemClient, _: Memory) -> None:
        findings = client.memories.list(run_id=board, tags=["finding"]).all()
        print(f"the writer has read {len(findings)} findings")
        if len(findings) == len(QUESTIONS):
            write(client, board, f"{board}.summary", "summary", " ".join(str(note.text) for note in findings))

    with RaftmemClient(endpoints, actor="user/mia") as mia:
        first = mia.memories.add(text="The freeze of November", run_id=board, tags=["topic"])
        start = first.event.index
        agents = [
            threading.Thread(target=agent, args=(endpoints, name, board, start, tag, react))
            for name, tag, react in (("researcher", "question", answer), ("writer", "finding", sum_up))
        ]
        for thread in agents:
            thread.start()
        for number, question in enumerate(QUESTIONS):
            write(mia, board, f"{board}.{number}", "question", question)
        for thread in agents:
            thread.join()
        print(f"on the board: {mia.memories.get(f'{board}.summary').text}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8101")
