"""The log of consensus: the ordered writes, the messages that wait for the disk, the queue to the state machine."""
