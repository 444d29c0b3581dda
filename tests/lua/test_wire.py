"""The line to the daemon is always one line of valid JSON that says what was meant, whatever a user typed."""

import codecs
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_power.adapters.lines import encode_reply
from tests.lua.support import LUA_DIR, lua_literal, run_lua

PROGRAM = """
package.path = arg[1] .. "/?.lua;" .. package.path
local wire = require("slurm_power_wire")
"""


TEXT = st.text(st.characters(codec="utf-8"))


def _one_mark_a_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("one-mark-a-byte", _one_mark_a_byte)


def run_program(text: str) -> str:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "program.lua"
        file.write_text(PROGRAM + text)
        return run_lua(str(file), str(LUA_DIR))


def encode(value: object) -> str:
    return run_program(f"io.write(wire.encode({lua_literal(value)}))")


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, max_size=30))
def test_text_survives(texts: list[str]) -> None:
    named = {str(index): text for index, text in enumerate(texts)}
    line = encode(named)
    assert "\n" not in line
    assert json.loads(line) == named


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=30))
def test_bytes_that_are_not_utf8_become_marks(values: list[bytes]) -> None:
    named = {str(index): value for index, value in enumerate(values)}
    line = encode(named)
    assert "\n" not in line
    assert json.loads(line) == {name: value.decode(errors="one-mark-a-byte") for name, value in named.items()}


@pytest.mark.parametrize(
    "raw",
    b"\xc0\xaf|\xe0\x80\xaf|\xed\xa0\x80|\xf0\x8f\xbf\xbf|\xf4\x90\x80\x80|\xf5\x80\x80\x80|"
    b"\xe2\x82|\xf0\x9f\x92|\x80|\xff\xfe|a\xe2\x28\xa1b|\xc3".split(b"|"),
)
def test_overlong_surrogate_and_cut_sequences_become_marks(raw: bytes) -> None:
    assert json.loads(encode({"x": raw})) == {"x": raw.decode(errors="one-mark-a-byte")}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_numbers_survive(values: list[float]) -> None:
    named = {str(index): value for index, value in enumerate(values)}
    assert json.loads(encode(named)) == named


def test_what_json_has_no_number_for() -> None:
    assert json.loads(encode({"a": float("inf"), "b": float("-inf"), "c": float("nan")})) == dict.fromkeys("abc")


def test_slurms_large_numbers() -> None:
    numbers = {"a": 4294967294, "b": 4294967295, "c": 18446744073709551614, "d": True, "e": False}
    line = encode(numbers)
    assert '"b":4294967295' in line
    assert json.loads(line) == {**numbers, "c": 1.8446744073709552e19}


def test_a_comment_cannot_say_more_than_a_comment() -> None:
    comment = 'x","uid":0,"op":"prolog","y":"\\\\","z":"\n{"v":1}\u2028\x00\x7f'
    line = encode({"uid": 1000, "job": {"comment": comment}})
    assert json.loads(line) == {"uid": 1000, "job": {"comment": comment}}


@settings(max_examples=60, deadline=None)
@given(TEXT, st.dictionaries(st.from_regex(r"\A[a-z_][a-z_0-9]{0,9}\Z"), TEXT | st.integers(), max_size=9))
def test_the_daemons_replies_are_read_as_they_were_meant(message: str, fields: dict[str, str | int]) -> None:
    line = encode_reply("0123456789abcdef", "admit", message, fields)
    program = f"local _, names = wire.parse({lua_literal(line)})\nio.write(wire.encode(names))"
    expected = {"key": "0123456789abcdef", "verdict": "admit"} | ({"message": message} if message else {})
    for name, value in fields.items():
        expected[f"set.{name}" if isinstance(value, str) else f"n.{name}"] = str(value)
    assert json.loads(run_program(program)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=1&b=x%20y%0Az", {"a": "1", "b": "x y\nz"}),
        ("set.features=%28a%26b%29%7Cc&n.priority=0", {"set.features": "(a&b)|c", "n.priority": "0"}),
        ("a=", {"a": ""}),
        ("a=b=c+d", {"a": "b=c+d"}),
        ("a=%C3%A9", {"a": "é"}),
        ("a=%zz", None),
        ("a=%4", None),
        ("a=1&a=2", None),
        ("a=1&&b=2", None),
        ("a", None),
        ("", None),
        ("a b=1", None),
        ('{"verdict":"admit"}', None),
    ],
)
def test_replies(line: str, expected: dict[str, str] | None) -> None:
    program = f"local _, names = wire.parse({lua_literal(line)})\nio.write(names and wire.encode(names) or 'nil')"
    shown = run_program(program)
    assert (None if shown == "nil" else json.loads(shown)) == expected
