"""The reference of the site file, made from the schema; `docs/configuration.md` is its copy."""

from collections.abc import Iterator
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from slurm_power.config import schema
from slurm_power.config.fields import Kind
from slurm_power.config.validate import members

_OPENING = """\
# Configuration

<!-- Made from the schema in slurm_power/config; change it there. A test keeps the two equal. -->

The site file is `/etc/slurm/slurm_power.yaml`; `SLURM_POWER_CONF` names another. It is YAML in UTF-8. Unknown keys,
keys given twice and names that lead nowhere are errors, each with its line. `etc/slurm_power.yaml` is an example with
comments.

- Watts are written `18.5kW`, `18500W` or `18500`. What something asks for is rounded up, what it can give down.
- Durations are written `100ms`, `30s`, `10m`, `12h`, `30d`; shares `15%` or `0.15`.
- Hostlists are Slurm's: `gpu[001-004,007]`, `a,b`.
- Names of zones and feeds are made of letters, digits and `_.-`. With `pw_` before it a name is the licence of the
  zone or feed, and the feature of the zone's nodes.
- Every value is taken as it is written: `20:00` is a time and `no` a word, whatever YAML 1.1 makes of them.
  Anchors, aliases and `<<` work.
"""


def reference() -> str:
    """Markdown: each section with its keys, their type, default and meaning."""
    parts = [_OPENING]
    for title, model in _sections(schema.SiteFile, ""):
        heading = f"## {title}" if title else "## Top level"
        parts.append(f"{heading}\n\n{_doc(model)}\n\n{_table(model)}\n")
    return "\n".join(parts)


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section in the order of the file, with the path that leads to it."""
    yield path, model
    for name, field in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        for kind in members(field.annotation):
            yield from _below(kind, here)


def _below(kind: Any, path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _sections(kind, path)
    elif get_origin(kind) is dict:
        for value in members(get_args(kind)[1]):
            yield from _below(value, f"{path}.NAME")
    elif get_origin(kind) is tuple:
        for value in members(get_args(kind)[0]):
            tag = _tag(value)
            yield from _below(value, f"{path}[] with type {tag}" if tag else f"{path}[]")


def _tag(kind: Any) -> str:
    """The value of `type` by which one of several sections is chosen."""
    field = kind.model_fields.get("type") if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return str(get_args(field.annotation)[0]) if field is not None else ""


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        cells = (f"`{field.alias or name}`", _type_of(field), _default(field), field.description or "")
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _type_of(field: FieldInfo) -> str:
    named = [mark.name for mark in field.metadata if isinstance(mark, Kind)]
    return named[0] if named else _kind(field.annotation)


def _kind(annotation: Any) -> str:
    """What a value is, for people."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        named = [mark.name for mark in arguments[1:] if isinstance(mark, Kind)]
        return named[0] if named else _kind(arguments[0])
    if origin in (Union, UnionType):
        kinds = dict.fromkeys(_kind(part) for part in arguments if part is not type(None))
        return " or ".join(kinds)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is dict:
        return f"mapping of {_kind(arguments[0])} to {_kind(arguments[1])}"
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if issubclass(annotation, StrEnum):
        return ", ".join(f"`{value}`" for value in annotation)
    return "section"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is None or default in ((), {}):
        return ""
    if isinstance(default, dict):
        return "`" + ", ".join(f"{name}: {_inline(value)}" for name, value in default.items()) + "`"
    return f"`{default}`"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_inline(part)}" for name, part in value.items()) + "}"
    return str(value)


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())
