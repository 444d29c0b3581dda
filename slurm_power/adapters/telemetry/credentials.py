"""Secrets of the sources: small files of `key: value`, which nobody but their owner may read."""

import stat
from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from slurm_power.adapters.telemetry.plain_file import read_plain
from slurm_power.core.errors import TelemetryError

_MOST_BYTES = 1 << 16


def read_credentials(path: Path, known: Collection[str]) -> Mapping[str, str]:
    """Its keys, all of them among `known`, with lines of text. Raises TelemetryError, which never tells a value."""
    file = read_plain(path, _MOST_BYTES)
    if file.mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TelemetryError(f"{path}: others than its owner may read it; chmod 600 {path}")
    try:
        found = yaml.load(file.text, yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise TelemetryError(f"{path}: is no list of keys and values; for example: {_example(known)}")
    for name, value in found.items():
        if name not in known:
            raise TelemetryError(f"{path}: knows no key '{name}'; for example: {_example(known)}")
        if not value or not value.isprintable():
            raise TelemetryError(f"{path}: '{name}' is no line of text")
    return found


def _example(known: Collection[str]) -> str:
    return ", ".join(f"{name}: …" for name in known)
