"""From text to a checked `SiteFile`: pydantic's complaints in our words, each with its line."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from slurm_power.config.document import read_document
from slurm_power.config.fields import Kind
from slurm_power.config.problems import Path, Problems, nearest
from slurm_power.config.schema import SiteFile

_SHAPES = {
    "model_type": ("is not a mapping", "keys and values"),
    "model_attributes_type": ("is not a mapping", "keys and values"),
    "dict_type": ("is not a mapping", "names, each with its keys and values"),
    "tuple_type": ("is not a list", "a list such as [pdu-a1, pdu-b1]"),
    "too_short": ("is empty", "at least one entry"),
    "union_tag_not_found": ("has no 'type'", "type: prometheus, redfish, snmp, slurm, file or http"),
}


def read_site_file(text: str, problems: Problems) -> SiteFile:
    """The file as checked sections. Raises SiteError with all that is wrong with it."""
    data = read_document(text, problems)
    try:
        site = SiteFile.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _note(detail, problems)
    else:
        problems.raise_any()
        return site
    raise problems.error()


def _note(detail: ErrorDetails, problems: Problems) -> None:
    path = _path(detail, problems)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        problems.add(path, "is no key here", nearest(str(path[-1]), list(keys_at(path[:-1]))))
    elif kind == "site":
        problems.add(path, context["problem"], context["expected"])
    elif kind == "missing":
        problems.add(path, "is missing", _expected_at(path))
    elif kind in _SHAPES:
        problems.add(path, *_SHAPES[kind])
    elif kind in ("enum", "literal_error"):
        problems.add(path, f"'{detail['input']}' is unknown", context["expected"].replace("'", ""))
    elif kind == "union_tag_invalid":
        problems.add(
            (*path, "type"), f"'{context['tag']}' is unknown", context["expected_tags"].replace("'", "")
        )
    else:
        problems.add(path, detail["msg"])


def _path(detail: ErrorDetails, problems: Problems) -> Path:
    """Where the file has it: pydantic's own steps (a union's tag, `[key]` of a name) are left out."""
    path: Path = ()
    for step in detail["loc"]:
        if (*path, step) in problems.lines:
            path = (*path, step)
    if detail["type"] == "missing":
        path = (*path, detail["loc"][-1])
    return path


def keys_at(path: Path) -> Iterator[str]:
    """The keys that a mapping at this place may have."""
    return (name for name, _ in _fields_at(path))


def _expected_at(path: Path) -> str:
    """What stands under a key that has to be there; empty for a section."""
    required = (field for name, field in _fields_at(path[:-1]) if name == path[-1] and field.is_required())
    return next((mark.expected for field in required for mark in field.metadata if isinstance(mark, Kind)), "")


def _fields_at(path: Path) -> Iterator[tuple[str, FieldInfo]]:
    kinds: list[Any] = [SiteFile]
    for step in path:
        kinds = [below for kind in kinds for below in _below(kind, step)]
    for kind in kinds:
        # A single section may stand for a list of them.
        for model in members(get_args(kind)[0]) if get_origin(kind) is tuple else (kind,):
            if isinstance(model, type) and issubclass(model, BaseModel):
                yield from ((field.alias or name, field) for name, field in model.model_fields.items())


def _below(kind: Any, step: str | int) -> Iterator[Any]:
    """The types that stand under a key or position of a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(step))
        if field is not None:
            yield from members(field.annotation)
    elif get_origin(kind) is dict:
        yield from members(get_args(kind)[1])
    elif get_origin(kind) is tuple:
        yield from members(get_args(kind)[0])


def members(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, None left out."""
    if get_origin(annotation) is Annotated:
        yield from members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from members(part)
    elif annotation is not type(None):
        yield annotation
