"""The births of the data folders by which other voters are known here: one that comes back with another is refused.

Remembered at first contact, on disk before that contact counts: an emptied folder would have forgotten its votes.
"""

from pathlib import Path

import msgspec

from raftmem.errors import Corrupt
from raftmem.storage.atomic_file import write_atomic


class KnownBirths:
    """node id -> birth of its data folder, in one small file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            self._known = {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corrupt(str(path), f"does not decode ({error})") from error

    def get(self, node_id: str) -> str | None:
        return self._known.get(node_id)

    def remember(self, node_id: str, birth: str) -> None:
        """On disk when this returns."""
        known = {**self._known, node_id: birth}
        write_atomic(self._path, msgspec.json.encode(known))
        self._known = known
