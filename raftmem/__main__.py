"""`python -m raftmem`."""

from raftmem.cli import main

main()
