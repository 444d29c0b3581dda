"""YAML as text and lines: every scalar stays what was written, so `20:00`, `no` and `0.1` mean what they look like.

PyYAML parses; we build the data ourselves, because its own constructor turns `20:00` into 1200 and forgets lines.
"""

from typing import Any

import yaml

from slurm_power.config.problems import Path, Problems, dotted

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


def read_document(text: str, problems: Problems) -> dict[str, Any]:
    """The mapping at the top of a YAML text: nested dicts, lists, str and None. Raises SiteError if there is none.

    Duplicate keys are noted in `problems`, whose lines are filled in.
    """
    root = _compose(text, problems)
    reader = _Reader(problems)
    if root is None:
        problems.add_at(None, "the file is empty", "at least a section 'zones'")
    elif not isinstance(root, yaml.MappingNode):
        problems.add_at(
            root.start_mark.line + 1, "the file is not a mapping", "keys such as 'zones:' at the top"
        )
    else:
        data: dict[str, Any] = reader.mapping(root, ())
        problems.lines = reader.lines
        return data
    raise problems.error()


def _compose(text: str, problems: Problems) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problems.add_at(line, f"not YAML: {error.problem or error.context}", _hint(text, line))
    except yaml.YAMLError as error:
        # the only one without a mark: a character that YAML forbids
        problems.add_at(None, f"not YAML: {str(error).splitlines()[0]}", "printable characters")
    else:
        return node
    raise problems.error()


def _hint(text: str, line: int | None) -> str:
    lines = text.splitlines()
    near = lines[line - 1] if line and line <= len(lines) else ""
    if "\t" in near:
        return "spaces; YAML takes no tabs before a key"
    return "keys and values such as 'limit: 55kW', with equal indentation and closed brackets"


class _Reader:
    """Turns nodes into data; remembers the line of every key and item."""

    def __init__(self, problems: Problems) -> None:
        self.lines: dict[Path, int] = {}
        self._problems = problems
        self._open: set[int] = set()

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        """A mapping; keys of `<<` come first and give way to the mapping's own."""
        data: dict[str, Any] = {}
        own: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for key, value in self._merged(value_node, path).items():
                    data.setdefault(key, value)
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.add_at(line, "a key that is not a word", "a name such as rack01", dotted(path))
                continue
            key = key_node.value
            if key in own:
                first = self.lines[(*path, key)]
                self._problems.add_at(
                    line,
                    f"the key is given twice, first in line {first}",
                    "each key once",
                    dotted((*path, key)),
                )
                continue
            own.add(key)
            self.lines[(*path, key)] = line
            data[key] = self._value(value_node, (*path, key))
        return data

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return None if node.tag == _NULL else node.value
        if id(node) in self._open:
            line = node.start_mark.line + 1
            self._problems.add_at(line, "an anchor that contains itself", "plain values", dotted(path))
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            return [self._item(child, (*path, index)) for index, child in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _item(self, node: yaml.Node, path: Path) -> Any:
        self.lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        data: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                line = part.start_mark.line + 1
                self._problems.add_at(line, "'<<' merges mappings only", "<<: *anchor", dotted(path))
                continue
            for key, value in self._value(part, path).items():
                data.setdefault(key, value)
        return data
