"""The words: replies, requests, the secret."""

import contextlib
import stat
from pathlib import Path
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.lines import HookKey, encode_reply, replace_file
from slurm_power.adapters.lines_server import parse_request
from slurm_power.core.errors import PowerError, UsageError


def test_a_reply_to_the_hook() -> None:
    reply = encode_reply(
        "c0ffee", "admit", "2 zones\nrack=1 & more", {"licenses": "rack01_w:18500", "priority": 0, "features": ""}
    )
    assert reply == (
        "key=c0ffee&verdict=admit&message=2 zones%0Arack=1 %26 more"
        "&set.licenses=rack01_w:18500&n.priority=0&set.features="
    )


def test_a_reply_to_the_gate() -> None:
    assert encode_reply("c0ffee", "wait", seconds=2) == "key=c0ffee&verdict=wait&seconds=2"


def test_bytes_that_are_not_utf8_come_back_as_they_were() -> None:
    request = parse_request(b'{"comment":"caf\xe9"}')
    reply = encode_reply("k", "admit", set_fields={"admin_comment": request["comment"]})
    assert unquote_to_bytes(reply.rpartition("=")[2]) == b"caf\xe9"


@given(
    message=st.text(st.characters(exclude_categories=["Cs"])),
    fields=st.dictionaries(
        st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"])) | st.integers(),
    ),
)
def test_replies_can_be_taken_apart(message: str, fields: dict[str, str | int]) -> None:
    reply = encode_reply("key", "hold", message, fields)
    assert "\n" not in reply
    assert reply.isascii()
    expected = [("key", "key"), ("verdict", "hold")] + ([("message", message)] if message else [])
    for name, value in fields.items():
        expected.append((f"set.{name}" if isinstance(value, str) else f"n.{name}", str(value)))
    assert parse_qsl(reply.replace("+", "%2B"), keep_blank_values=True) == expected


@given(st.text(st.characters()))
def test_any_text_can_be_sent(text: str) -> None:
    assert encode_reply("k", "hold", text).isascii()


@given(st.binary())
def test_no_line_breaks_the_reader(line: bytes) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(parse_request(line), dict)


def test_the_key_is_new_each_time_and_for_the_owner_only(path: Path) -> None:
    first, second = HookKey.create(path), HookKey.create(path)
    assert first.path == path.with_name("test.sock.key")
    assert first.value != second.value
    assert len(bytes.fromhex(second.value)) == 16
    assert second.path.read_text() == second.value + "\n"
    assert stat.S_IMODE(second.path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["test.sock.key"]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(home: Path) -> None:
    (home / "taken").mkdir()
    with pytest.raises(PowerError, match="cannot be written"):
        replace_file(home / "taken", "content", 0o644)
    with pytest.raises(PowerError, match="cannot be written"):
        replace_file(home / "missing" / "file", "content", 0o644)
    assert [each.name for each in home.iterdir()] == ["taken"]
    replace_file(home / "nodes", "gpu001 rack01\n", 0o644)
    assert stat.S_IMODE((home / "nodes").stat().st_mode) == 0o644
