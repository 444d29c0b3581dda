"""Slurm's feature expressions (`--constraint`): could the nodes of a zone satisfy one?

The answer errs towards yes: counts are taken as "at least one such node", and Slurm itself decides at last. Slurm
reads from left to right; `&` before `|`, as people mean it, says yes wherever Slurm does, and sometimes more often.
"""

import re
from collections.abc import Iterable, Sequence

_TOKEN = re.compile(r"\s*([&|,()\[\]]|\*\d+|[^&|,()\[\]*\s]+)")

_MOST_GROUPS = 64
"""Slurm takes no group within a group; we must not go a level deeper for each parenthesis that a user writes."""


def could_satisfy(expression: str, nodes: Sequence[frozenset[str]]) -> bool:
    """Whether nodes with these features could run a job with this constraint; yes where it cannot be read."""
    found = [match[1] for match in _TOKEN.finditer(expression)]
    tokens = [token for token in found if not token.startswith("*")]
    if not tokens or not nodes or tokens.count("(") > _MOST_GROUPS:
        return True
    if "[" in tokens or len(tokens) < len(found):
        # Counted, or within brackets, each term is about nodes of its own; else all terms are about every node.
        return all(any(_holds([token], node) for node in nodes) for token in _needed_names(tokens))
    return any(_holds(tokens, node) for node in nodes)


def _needed_names(tokens: list[str]) -> Iterable[str]:
    """The names that some node must have: those not part of an alternative."""
    if "|" in tokens:
        return ()
    return (token for token in tokens if token not in "&,()[]")


def _holds(tokens: list[str], features: frozenset[str]) -> bool:
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
