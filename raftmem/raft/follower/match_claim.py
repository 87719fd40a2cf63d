"""A follower's claim: how far its log was verified against its leader's, and how much of that it may say.

Rule (termed-answers): a claim names only what an append of the claimed term verified and what is on this disk.
"""


class MatchClaim:
    """`commit`: the highest index that a leader's word and this log together make committed (verified-commit)."""

    def __init__(self, commit: int) -> None:
        self.commit = commit
        self._term = 0
        self._verified = 0
        self._claimed = 0

    def verify(self, *, term: int, verified: int, commit: int) -> None:
        """An append of `term` proved this log equal to the leader's up to `verified`."""
        if term != self._term:
            self._term, self._verified, self._claimed = term, 0, 0
        self._verified = max(self._verified, verified)
        self.commit = max(self.commit, commit)

    def claim(self, *, term: int, durable: int, owed: bool) -> int | None:
        """The index to claim in `term` now; None when nothing is new and no answer is owed."""
        if term != self._term:
            return None
        match = min(self._verified, durable)
        if match <= self._claimed and not (owed and match > 0):
            return None
        self._claimed = match
        return match
