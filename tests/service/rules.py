"""What state machines over a driver have in common."""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import rule


def one_of(*names: str) -> Callable[..., Callable[..., None]]:
    """A rule of a machine that does one of these acts, with a source of randomness."""
    return rule(name=st.sampled_from(names), rng=st.randoms(use_true_random=False))
