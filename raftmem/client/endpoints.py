"""The addresses of the replicas: the one that answered last is asked first, the next one when it fails.

The rule: the order is the one given; all requests of a client go to the same replica until it fails.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from raftmem.client.values import text

_VARIABLE: Final = "RAFTMEM_URL"


class Endpoints:
    """Any thread: a preference that is a moment old does no harm."""

    def __init__(self, given: str | Sequence[str] | None = None) -> None:
        """None: those of RAFTMEM_URL, with commas. Raises: ValueError unless each is an http:// or https:// address."""
        given = os.environ.get(_VARIABLE, "") if given is None else given
        parts = given.split(",") if isinstance(given, str) else [text(part, "an endpoint") for part in given]
        self.urls = [part.strip().rstrip("/") for part in parts if part.strip()]
        if not self.urls:
            raise ValueError(f"no endpoint is given; name one, such as http://127.0.0.1:8101, or set {_VARIABLE}")
        for url in self.urls:
            split = urlsplit(url)
            if split.scheme not in ("http", "https") or not split.hostname:
                raise ValueError(f"endpoint {url!r} is not an address such as http://127.0.0.1:8101")
        self._current = 0

    def __str__(self) -> str:
        """The addresses without a password that stands in one."""
        return ",".join(f"{urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]}" for url in self.urls)

    def round(self) -> Iterator[str]:
        """Each once, the preferred one first."""
        start = self._current
        for step in range(len(self.urls)):
            yield self.urls[(start + step) % len(self.urls)]

    @property
    def current(self) -> str:
        return self.urls[self._current]

    def failed(self, url: str) -> None:
        """Ask the next one from now on, unless another is asked already."""
        if url == self.urls[self._current]:
            self._current = (self._current + 1) % len(self.urls)
