"""Semaphores: as locks, and three may hold one at once."""

from jepsen_like.workloads.locks import Locks


class Semaphores(Locks):
    name = "semaphore"
    about = "counting semaphores of three permits, with holders that die; each linearizable"
    model = "semaphore"
    permits = 3
