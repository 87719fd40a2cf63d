"""What is said to the outside waits for nobody, fails for nobody, and stays on its line."""

import logging
import os
import threading

from raftmem.runtime.log_lines import FORMAT, OneLine, OutletHandler
from raftmem.runtime.outlet import Outlet

PATIENCE_S = 20


def test_lines_come_in_order_and_all_of_them_by_the_end() -> None:
    written: list[int] = []
    outlet = Outlet(written.append)
    for k in range(100):
        outlet.put(lambda k=k: written.append(k))
    outlet.close(PATIENCE_S)
    assert written == list(range(100))
    assert outlet.is_over


def test_reader_that_stops_reading_costs_lines_that_are_counted_and_nobody_waits() -> None:
    begun, goes_on = threading.Event(), threading.Event()
    written: list[str] = []

    def write(line: str) -> None:
        begun.set()
        assert goes_on.wait(PATIENCE_S)
        written.append(line)

    outlet = Outlet(lambda lost: written.append(f"{lost} lost"), lines_max=2)
    outlet.put(lambda: write("first"))
    assert begun.wait(PATIENCE_S)
    for line in ("second", "third", "fourth", "fifth"):
        outlet.put(lambda line=line: write(line))
    goes_on.set()
    outlet.close(PATIENCE_S)
    assert written == ["first", "2 lost", "second", "third"]


def test_reader_that_leaves_ends_the_outlet_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    outlet = Outlet(lambda _: None)
    outlet.put(lambda: os.write(writing, b"."))
    outlet.close(PATIENCE_S)
    assert outlet.is_over
    outlet.put(lambda: os.write(writing, b"."))
    os.close(writing)


def test_name_in_a_log_line_begins_no_line_of_its_own() -> None:
    reading, writing = os.pipe()
    handler = OutletHandler(writing)
    handler.setFormatter(OneLine(FORMAT))
    name = "n1\n2026-12-01 00:00:00,000 INFO raftmem.raft: n2 leads\x1b[2J\u2028\udcff"
    handler.handle(logging.LogRecord("raftmem.peers", logging.INFO, "", 0, "no connection with %s", (name,), None))
    handler.outlet.close(PATIENCE_S)
    os.close(writing)
    with open(reading, "rb") as lines:
        said = lines.read().decode()
    assert len(said.splitlines()) == 1
    assert said.endswith(r"n2 leads\x1b[2J\u2028\udcff" + "\n")
