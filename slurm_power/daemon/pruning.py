"""What is too old in the database is deleted piece by piece, in the writer's thread, while nothing waits for it."""

from concurrent.futures import Future

from slurm_power.adapters.store import StoreWriter

_INTENTS_S = 7 * 86_400
"""How long closed intents are kept: long enough to look into what happened, and nothing is ever restored from them."""
_PIECE = 500
"""Rows deleted at a time: what is put behind a piece waits for milliseconds."""
_EVERY_S = 3_600
_AHEAD_S = 60
"""By so much the clock may have gone ahead of the time that has passed and still tell what is old."""


class Pruning:
    """Deletes at most one piece a round, and none for an hour once nothing old is left, nor for an hour from the start.

    A clock that is ahead for a moment would make everything old: nothing is deleted until it has run true for an hour.
    """

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._piece: Future[int] | None = None
        self._since: tuple[int, float] | None = None
        """What both clocks said when the present hour began."""

    def step(self, now: int, monotonic: float, keep_s: int) -> None:
        """Put the next piece of what is older than `keep_s` to the writer, if it is time; never blocks.

        A piece that fails, as all does while the database does, is put again by a later step.
        """
        if self._piece is not None:
            if not self._piece.done():
                return
            if self._piece.exception() is None and self._piece.result() < _PIECE:
                self._since = None
            self._piece = None
        if self._hour_is_over(now, monotonic):
            decisions, intents = max(now - keep_s, 0), max(now - min(keep_s, _INTENTS_S), 0)
            self._piece = self._writer.submit_and_wait(
                lambda store: store.prune(decisions=decisions, intents=intents, profiles=decisions, limit=_PIECE)
            )

    def _hour_is_over(self, now: int, monotonic: float) -> bool:
        """Whether an hour has passed and the clock has run true in it; else it begins anew."""
        if self._since is not None:
            passed_s = monotonic - self._since[1]
            if now - self._since[0] <= passed_s + _AHEAD_S:
                return passed_s >= _EVERY_S
        self._since = now, monotonic
        return False
