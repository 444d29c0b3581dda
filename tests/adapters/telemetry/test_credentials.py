"""Files with secrets: what they may hold, who may read them, and that no message tells what is in them."""

import os
from pathlib import Path

import pytest

from slurm_power.adapters.telemetry.credentials import read_credentials
from slurm_power.core.errors import TelemetryError

KNOWN = ("user", "password", "token")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "credentials"


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_keys_and_values_are_text(path: Path) -> None:
    pair = {"user": "reader", "password": "0123"}
    assert read_credentials(write(path, "user: reader\npassword: 0123\n"), KNOWN) == pair
    assert read_credentials(write(path, "token: 'a: b'", 0o400), KNOWN) == {"token": "a: b"}
    assert read_credentials(write(path, "password: yes"), KNOWN) == {"password": "yes"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610])
def test_others_may_not_read_it(path: Path, mode: int) -> None:
    with pytest.raises(TelemetryError, match="others than its owner may read it; chmod 600"):
        read_credentials(write(path, "token: sesame", mode), KNOWN)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no list of keys"),
        ("sesame", "no list of keys"),
        ("[sesame]", "no list of keys"),
        ("token: [sesame]", "no list of keys"),
        ("token: {sesame: sesame}", "no list of keys"),
        ("[sesame]: sesame", "no list of keys"),
        ("token: &a [*a, sesame]", "no list of keys"),
        ("token: 'sesame", "no list of keys"),
        ("token: !!python/object/apply:os.system [sesame]", "no list of keys"),
        (b"\xff\xfe\x00sesame", "no list of keys"),
        (b"token: sesame\x00", "no list of keys"),
        ('token: "sesame \\UFFFFFFFF"', "no list of keys"),
        ("[" * 600, "no list of keys"),
        ("pass: sesame", "knows no key 'pass'; for example: user: …, password: …, token: …"),
        ("token:", "'token' is no line of text"),
        ('token: "sesame\\n"', "'token' is no line of text"),
        ('token: "sesame\\r\\nHost: elsewhere"', "'token' is no line of text"),
        ("token: sesame" + " " * (1 << 16), "is longer than"),
    ],
)
def test_what_is_wrong_is_told_and_no_value(path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(TelemetryError) as caught:
        read_credentials(write(path, text), KNOWN)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for place, says in ((pipe, "no plain file"), (tmp_path, "directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(TelemetryError, match=says):
            read_credentials(place, KNOWN)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    for _ in range(20):
        with pytest.raises(TelemetryError):
            read_credentials(tmp_path, KNOWN)
    assert len(list(opened.iterdir())) == before
