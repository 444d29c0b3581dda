"""Slurm's feature expressions (`--constraint`): how many nodes of a zone would do for one?

The answer errs towards more: counts within the expression are taken as "at least one such node", and Slurm itself
decides at last. Slurm reads from left to right; `&` before `|`, as people mean it, says yes wherever Slurm does, and
sometimes more often.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

_TOKEN = re.compile(r"\s*([&|,()\[\]]|\*\d+|[^&|,()\[\]*\s]+)")

LONGEST = 1_024
"""Slurm refuses a longer constraint, but only after we have been asked about it."""
_MOST_GROUPS = 64
"""Slurm takes no group within a group; we must not go a level deeper for each parenthesis that a user writes."""


def suiting(expression: str, nodes: Sequence[frozenset[str]]) -> int:
    """How many of the nodes with these features a job with this constraint could have; all where it cannot be read.

    Where the terms are about nodes of their own it is all of them or, if a name is nowhere to be found, none. A site
    has many nodes, of few kinds as far as one constraint tells them apart: each kind is looked at once.
    """
    tokens, apart = _tokens(expression) if len(expression) <= LONGEST else ((), False)
    if not tokens or tokens.count("(") > _MOST_GROUPS:
        return len(nodes)
    kinds = Counter(map(frozenset(tokens).intersection, nodes))
    if apart:
        return len(nodes) if frozenset().union(*kinds).issuperset(_needed_names(tokens)) else 0
    return sum(count for kind, count in kinds.items() if _holds(tokens, kind))


@lru_cache(maxsize=64)
def _tokens(expression: str) -> tuple[tuple[str, ...], bool]:
    """The tokens without counts, and whether each term is about nodes of its own (where it is counted, or stands
    within brackets); else all terms are about every node.
    """
    found = [match[1] for match in _TOKEN.finditer(expression)]
    tokens = tuple(token for token in found if not token.startswith("*"))
    return tokens, "[" in tokens or len(tokens) < len(found)


def _needed_names(tokens: Sequence[str]) -> Iterable[str]:
    """The names that some node must have: those not part of an alternative."""
    if "|" in tokens:
        return ()
    return (token for token in tokens if token not in "&,()[]")


@lru_cache(maxsize=1_024)
def _holds(tokens: tuple[str, ...], features: frozenset[str]) -> bool:
    """Whether one node satisfies the tokens; yes where they do not make an expression."""
    position = 0

    def term() -> bool:
        nonlocal position
        token = tokens[position] if position < len(tokens) else ""
        position += 1
        if token == "(":
            value = either()
            position += 1
            return value
        return token in features or token in "&|,)"

    def both() -> bool:
        nonlocal position
        value = term()
        while position < len(tokens) and tokens[position] in "&,":
            position += 1
            value = term() and value
        return value

    def either() -> bool:
        nonlocal position
        value = both()
        while position < len(tokens) and tokens[position] == "|":
            position += 1
            value = both() or value
        return value

    value = either()
    return value or position < len(tokens)
