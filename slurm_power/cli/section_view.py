"""A section of the site file as data for JSON: defaults filled in, the unit of a number in its key."""

from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic.fields import FieldInfo

from slurm_power.config.exporter import ADDRESS, shown
from slurm_power.config.fields import DURATION, URL, WATTS, Kind
from slurm_power.config.section import Section
from slurm_power.core.policy import Hours

_SUFFIXES = {DURATION.name: "_s", WATTS.name: "_w"}


def section_data(section: Section) -> dict[str, Any]:
    """The section by key: durations in s under `…_s`, power in W under `…_w`, shares and other numbers as they are.

    A URL is shown without the user and the password that it may have.
    """
    data: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        kinds, value = set(_kinds(field)), getattr(section, name)
        suffix = next((suffix for kind, suffix in _SUFFIXES.items() if kind in kinds), "")
        data[(field.alias or name) + suffix] = _written(value, kinds)
    return data


def _written(value: Any, kinds: set[str]) -> Any:
    if value is not None and URL.name in kinds:
        return _without_user(value)
    if value is not None and ADDRESS.name in kinds:
        return shown(value)
    return _plain(value)


def _kinds(field: FieldInfo) -> Iterator[str]:
    """The names of the kinds that a value of the key may be of, where it is a single value."""
    for mark in (*field.metadata, *(mark for part in get_args(field.annotation) for mark in get_args(part)[1:])):
        if isinstance(mark, Kind):
            yield mark.name


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return section_data(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Fraction):
        return float(value)
    return str(value) if isinstance(value, (str, date, Hours)) else value  # str: an enum is one too


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
