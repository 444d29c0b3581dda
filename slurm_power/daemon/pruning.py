"""What is too old in the database is deleted piece by piece, in the writer's thread, while nothing waits for it."""

from concurrent.futures import Future

from slurm_power.adapters.store import StoreWriter

_INTENTS_S = 7 * 86_400
"""How long closed intents are kept: long enough to look into what happened, and nothing is ever restored from them."""
_PIECE = 500
"""Rows deleted at a time: what is put behind a piece waits for milliseconds."""
_EVERY_S = 3_600


class Pruning:
    """Deletes at most one piece a round, and none for an hour once nothing old is left."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._piece: Future[int] | None = None
        self._next = 0

    def step(self, now: int, keep_s: int) -> None:
        """Put the next piece of what is older than `keep_s` to the writer, if it is time; never blocks.

        A piece that fails, as all does while the database does, is put again by a later step.
        """
        if self._piece is not None:
            if not self._piece.done():
                return
            if self._piece.exception() is None and self._piece.result() < _PIECE:
                self._next = now + _EVERY_S
            self._piece = None
        if now >= self._next:
            decisions, intents = max(now - keep_s, 0), max(now - min(keep_s, _INTENTS_S), 0)
            self._piece = self._writer.submit_and_wait(
                lambda store: store.prune(decisions=decisions, intents=intents, limit=_PIECE)
            )
