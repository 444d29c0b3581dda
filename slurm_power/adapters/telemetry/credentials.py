"""Secrets of the sources: small files of `key: value`, which nobody but their owner may read."""

import stat
from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from slurm_power.core.errors import TelemetryError

_MOST_BYTES = 1 << 16


def read_credentials(path: Path, known: Collection[str]) -> Mapping[str, str]:
    """Its keys, all of them among `known`. Raises TelemetryError, which never tells a value."""
    try:
        with path.open("rb") as file:
            others = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
            text = file.read(_MOST_BYTES)
    except OSError as error:
        raise TelemetryError(f"{path}: cannot be read: {error.strerror}") from None
    if others:
        raise TelemetryError(f"{path}: others than its owner may read it; chmod 600 {path}")
    try:
        found = yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise TelemetryError(f"{path}: is no list of keys and values; for example: {_example(known)}")
    for name in found:
        if name not in known:
            raise TelemetryError(f"{path}: knows no key '{name}'; for example: {_example(known)}")
    return found


def _example(known: Collection[str]) -> str:
    return ", ".join(f"{name}: …" for name in known)
