"""What is reserved on one element over the weeks to come, as a step function of time.

Steps lie in chunks of bounded length, each with the most of every sum in it. A question passes over a chunk whose most
is harmless, and a reservation that covers a chunk is added to the chunk as a whole. So with n reservations both take
about √n or less of what it would take to look at each; memory grows with n.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from slurm_power.core.window import FOREVER, Window

Sums = tuple[int, int, int, int]
"""(Σ est W, Σ burst W, Σ of bursts squared, Σ thousandths of nodes) of what is there at one instant."""

NOTHING: Sums = (0, 0, 0, 0)

Stretch = tuple[int, int, Sums]
"""(from, until, what is there from the one to before the other)."""

_LONGEST = 64
"""A chunk of more steps is cut in two."""


class _Chunk:
    """Steps one after another: from `starts[k]` on there is `steps[k]` and, everywhere in the chunk, `base`."""

    __slots__ = ("base", "edges", "most", "starts", "steps")

    def __init__(self, starts: list[int], steps: list[Sums], edges: list[int], base: Sums) -> None:
        self.starts = starts
        self.steps = steps
        self.edges = edges
        """How many reservations begin or end at a step; one without any is dropped."""
        self.base = base
        self.most = _most(steps)
        """The most of each sum over the steps, `base` left out."""


class Timeline:
    """The sums of reservations at each instant. Each is a correlation group of its own, so that squares add up."""

    __slots__ = ("_chunks", "_firsts", "_peak")

    def __init__(self) -> None:
        self._chunks = [_Chunk([-FOREVER], [NOTHING], [1], NOTHING)]
        self._firsts = [-FOREVER]
        """Where each chunk begins."""
        self._peak: Sums | None = NOTHING

    def add(self, window: Window, sums: Sums) -> None:
        """Reserve so much over a window."""
        self._cut(window.start)
        self._cut(window.end)
        self._shift(window, sums)

    def remove(self, window: Window, sums: Sums) -> None:
        """Take out what was added with the same window and sums."""
        self._shift(window, (-sums[0], -sums[1], -sums[2], -sums[3]))
        self._mend(window.start)
        self._mend(window.end)

    @property
    def peak(self) -> Sums:
        """The most of each sum over all time."""
        if self._peak is None:
            self._peak = _most([_plus(chunk.most, chunk.base) for chunk in self._chunks])
        return self._peak

    def most_in(self, window: Window) -> Sums:
        """The most of each sum over a window."""
        start, end = window.start, window.end
        found = []
        for number in range(bisect_right(self._firsts, start) - 1, len(self._chunks)):
            if self._firsts[number] >= end:
                break
            chunk = self._chunks[number]
            begin, stop = max(bisect_right(chunk.starts, start) - 1, 0), bisect_left(chunk.starts, end)
            whole = begin == 0 and stop == len(chunk.starts)
            found.append(_plus(chunk.most if whole else _most(chunk.steps[begin:stop]), chunk.base))
        return _most(found)

    def over(self, window: Window, looks_into: Callable[[int, Sums], bool]) -> Iterator[Stretch]:
        """The stretches of the window, in order of time; clipped to it.

        `looks_into` is asked of each chunk, with the first instant and the most of each sum; one that it denies is left
        out.
        """
        start, end = window.start, window.end
        for number in range(bisect_right(self._firsts, start) - 1, len(self._chunks)):
            if self._firsts[number] >= end:
                return
            chunk = self._chunks[number]
            first = max(start, self._firsts[number])
            if looks_into(first, _plus(chunk.most, chunk.base)):
                yield from self._within(number, first, end)

    def steps(self) -> list[tuple[int, Sums, int]]:
        """(instant, sums from there on, how many begin or end there), to be compared with a fresh count."""
        return [
            (start, _plus(step, chunk.base), edges)
            for chunk in self._chunks
            for start, step, edges in zip(chunk.starts, chunk.steps, chunk.edges, strict=True)
        ]

    def bounds_hold(self) -> bool:
        """Whether the first instants, and the mosts by which chunks are passed over, are those of their steps."""
        return self._firsts == [chunk.starts[0] for chunk in self._chunks] and all(
            chunk.most == _most(chunk.steps) for chunk in self._chunks
        )

    def _within(self, number: int, first: int, end: int) -> Iterator[Stretch]:
        chunk = self._chunks[number]
        after = self._firsts[number + 1] if number + 1 < len(self._firsts) else FOREVER
        starts, base = chunk.starts, chunk.base
        for place in range(bisect_right(starts, first) - 1, len(starts)):
            at = max(first, starts[place])
            if at >= end:
                return
            until = starts[place + 1] if place + 1 < len(starts) else after
            yield at, min(until, end), _plus(chunk.steps[place], base)

    def _cut(self, instant: int) -> None:
        """Have a step begin at an instant, and count one more edge there."""
        number = bisect_right(self._firsts, instant) - 1
        chunk = self._chunks[number]
        place = bisect_right(chunk.starts, instant) - 1
        if chunk.starts[place] == instant:
            chunk.edges[place] += 1
            return
        chunk.starts.insert(place + 1, instant)
        chunk.steps.insert(place + 1, chunk.steps[place])
        chunk.edges.insert(place + 1, 1)
        if len(chunk.starts) > _LONGEST:
            self._split(number)

    def _split(self, number: int) -> None:
        chunk, half = self._chunks[number], _LONGEST // 2
        later = _Chunk(chunk.starts[half:], chunk.steps[half:], chunk.edges[half:], chunk.base)
        del chunk.starts[half:], chunk.steps[half:], chunk.edges[half:]
        chunk.most = _most(chunk.steps)
        self._chunks.insert(number + 1, later)
        self._firsts.insert(number + 1, later.starts[0])

    def _mend(self, instant: int) -> None:
        """Count one edge less at an instant, and drop its step if that was the last."""
        number = bisect_right(self._firsts, instant) - 1
        chunk = self._chunks[number]
        place = bisect_left(chunk.starts, instant)
        chunk.edges[place] -= 1
        if chunk.edges[place]:
            return
        del chunk.starts[place], chunk.steps[place], chunk.edges[place]
        if chunk.starts:
            self._firsts[number] = chunk.starts[0]
            chunk.most = _most(chunk.steps)
        else:
            del self._chunks[number], self._firsts[number]

    def _shift(self, window: Window, sums: Sums) -> None:
        """Add to every step of a window, which begins and ends at steps."""
        self._peak = None
        start, end = window.start, window.end
        for number in range(bisect_right(self._firsts, start) - 1, len(self._chunks)):
            if self._firsts[number] >= end:
                return
            chunk = self._chunks[number]
            begin, stop = bisect_left(chunk.starts, start), bisect_left(chunk.starts, end)
            if begin == 0 and stop == len(chunk.starts):
                chunk.base = _plus(chunk.base, sums)
            elif begin < stop:
                chunk.steps[begin:stop] = [_plus(step, sums) for step in chunk.steps[begin:stop]]
                chunk.most = _most(chunk.steps)


def _plus(some: Sums, more: Sums) -> Sums:
    return some[0] + more[0], some[1] + more[1], some[2] + more[2], some[3] + more[3]


def _most(steps: list[Sums]) -> Sums:
    est_w, burst_w, squares, node_milli = zip(*steps, strict=True)
    return max(est_w), max(burst_w), max(squares), max(node_milli)
