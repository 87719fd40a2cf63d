"""The replicas that a client may ask: the one that answered last first, the next when it fails.

The rule: the order is the one given; all requests of a client go to the same replica until it fails.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit


class Endpoints:
    """Any thread: a preference that is a moment old does no harm."""

    def __init__(self, given: str | Sequence[str]) -> None:
        """Raises: ValueError unless each is an http:// or https:// address."""
        parts = given.split(",") if isinstance(given, str) else given
        self.urls = [part.strip().rstrip("/") for part in parts if part.strip()]
        if not self.urls:
            raise ValueError("no endpoint is given; name one, such as http://127.0.0.1:8101")
        for url in self.urls:
            split = urlsplit(url)
            if split.scheme not in ("http", "https") or not split.hostname:
                raise ValueError(f"endpoint {url!r} is not an address such as http://127.0.0.1:8101")
        self._current = 0

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
