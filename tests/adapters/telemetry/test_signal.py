"""The facility's document: what it may say, and what becomes of everything else that could be there."""

import os
from fractions import Fraction
from pathlib import Path

import pytest

from slurm_power.adapters.telemetry.signal import EXAMPLE, EXAMPLE_OF_READINGS, FileSignal, UrlSignal, open_signal
from slurm_power.adapters.telemetry.web import Web
from slurm_power.config.telemetry import SignalFile
from slurm_power.config.telemetry import SignalUrl as ConfiguredUrl
from slurm_power.core.errors import SignalError
from slurm_power.ports import AskedCut, FacilitySignal, Kind, Quantity, Reading
from tests.adapters.telemetry.hostile import (
    Behaviour,
    Hostile,
    answers,
    asks_for,
    bearer,
    certificate,
    drips_body,
    floods,
    redirects,
    refused,
    shows,
)

FIVE_PM = 1_795_798_800
"""2026-11-27T17:00:00Z."""
TWO_PM = FIVE_PM - 3 * 3_600


def read(path: Path, text: str | bytes) -> tuple[AskedCut, ...]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return tuple(FileSignal(path).read().cuts)


def readings(path: Path, *told: str, now: float = FIVE_PM) -> tuple[Reading, ...]:
    """Of a file that was written ten seconds before `now`."""
    path.write_text(f'{{"readings": [{", ".join(told)}]}}')
    os.utime(path, (now - 10, now - 10))
    return tuple(FileSignal(path, lambda: now).read().readings)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signal.json"


def test_what_it_asks_for(path: Path) -> None:
    assert read(path, EXAMPLE) == (AskedCut("ups-a", "grid event", None, FIVE_PM, None, Fraction(25)),)
    assert read(path, '{"cuts": []}') == ()
    wanted = '{"cuts": [{"element": "r1", "limit": "30kW", "reason": "x", "start": "2026-11-27T18:00:00+01:00"}]}'
    assert read(path, wanted) == (AskedCut("r1", "x", FIVE_PM, None, 30_000, None),)
    assert read(path, '{"cuts": [{"element": "r1", "limit": 500, "reason": "x"}]}')[0].limit_w == 500
    assert read(path, '{"cuts": [{"element": "r1", "percent": 0.1, "reason": "x"}]}')[0].percent == Fraction(1, 10)


def test_when_it_was_written(path: Path) -> None:
    read(path, EXAMPLE)
    os.utime(path, (1_000, 2_000.5))
    assert FileSignal(path).read().written_at == 2_000


def test_what_it_measures(path: Path) -> None:
    assert readings(path, EXAMPLE_OF_READINGS[14:-2]) == (
        Reading(Kind.ZONE, "rack01", Quantity.POWER, 18_500, age_s=FIVE_PM - TWO_PM),
    )
    all_three = '"watts": 9200.5, "celsius": -3, "breaker": "open"'
    assert readings(path, f'{{"element": "pdu-a1", "kind": "feed", "inlet": "A", {all_three}}}') == (
        Reading(Kind.FEED, "pdu-a1", Quantity.POWER, 9_200.5, 10, part="A"),
        Reading(Kind.FEED, "pdu-a1", Quantity.TEMPERATURE, -3, 10, part="A"),
        Reading(Kind.FEED, "pdu-a1", Quantity.BREAKER, 0, 10, part="A"),
    )
    assert readings(path, '{"element": "n1", "kind": "node", "breaker": "closed"}')[0].value == 1
    assert readings(path, '{"element": "r1", "watts": -5}')[0].value == -5  # to judge it is not the file's affair
    assert readings(path, '{"element": "r1", "watts": "0.75W"}')[0].value == 0.75
    assert readings(path) == ()


def test_phases_and_inlets(path: Path) -> None:
    found = readings(
        path,
        '{"element": "r1", "watts": 1, "phase": "L1", "inlet": "A"}',
        '{"element": "r1", "watts": 2, "phase": "L2", "inlet": "A"}',
        '{"element": "r1", "watts": 3, "inlet": "B", "celsius": 20}',
        '{"element": "r1", "watts": 4, "kind": "feed"}',
    )
    assert [(one.kind, one.value, one.part, one.phase) for one in found] == [
        (Kind.ZONE, 1, "A", "L1"),
        (Kind.ZONE, 2, "A", "L2"),
        (Kind.ZONE, 3, "B", ""),
        (Kind.ZONE, 20, "B", ""),
        (Kind.FEED, 4, "", ""),
    ]


def test_how_old_readings_are(path: Path) -> None:
    at = '{"element": "r1", "watts": 1, "at": "2026-11-27T%s"}'
    for time, age_s in (("17:00:00Z", 0), ("18:00:00.5+02:00", 3_599.5), ("17:01:00Z", -60)):
        assert readings(path, at % time)[0].age_s == age_s
    assert readings(path, '{"element": "r1", "watts": 1}')[0].age_s == 10


def test_cuts_and_readings_together(path: Path) -> None:
    path.write_text(EXAMPLE[:-1] + ", " + EXAMPLE_OF_READINGS[1:])
    found = FileSignal(path).read()
    assert (len(found.cuts), len(found.readings)) == (1, 1)


GOOD = '{"element": "r2", "watts": 7}'


@pytest.mark.parametrize(
    ("entries", "left", "says"),
    [
        (f'[{{"element": "r1", "watts": NaN}}, {GOOD}]', ["r2"], "readings.0.watts: "),
        (f'[{GOOD}, {{"element": "r1", "watts": {"9" * 400}}}]', ["r2"], "readings.1.watts: "),
        (f'[{GOOD}, {{"element": "r1", "watts": "much", "inlet": "A"}}, {{"element": "r1", "watts": 5, "inlet": "B"}}]',
         ["r2"], "readings.1.watts: "),
        (f'[{{"element": "r1", "kind": "room", "watts": 1}}, {GOOD}]', ["r2"], "readings.0.kind: "),
        (f'[{{"element": "r1", "watts": 1}}, {{"element": "r1", "watts": 2}}, {GOOD}]', ["r2"], "comes twice"),
        (f'[{{"element": "r1", "watts": 1}}, {{"element": "r1", "watts": 2, "phase": "L1"}}, {GOOD}]', ["r2"],
         "as a whole and by 'phase'"),
        ("[" + ", ".join(f'{{"element": "r1", "watts": {watts}, "inlet": "{inlet}"}}'
                         for inlet, watts in (("1", 4), ("all", 12), ("2", 4), ("3", 4))) + f", {GOOD}]", ["r2"],
         "readings: inlet 'all' of zone 'r1' (12 W) is the sum of 1, 2, 3: a total and its parts would count twice"),
        (f'[{{"watts": 1}}, {GOOD}]', [], "readings.0.element: Field required"),
        (f'[{GOOD}, 1]', [], "readings.1: "),
        ("null", [], "readings: is no list"),
        ('{"element": "r1"}', [], "readings: is no list"),
    ],
)  # fmt: skip
def test_a_sensor_that_makes_no_sense_voids_no_cut(path: Path, entries: str, left: list[str], says: str) -> None:
    """It costs the readings of its element; where nobody knows whose it is, all of them."""
    path.write_text(f'{EXAMPLE[:-1]}, "readings": {entries}}}')
    found = FileSignal(path).read()
    assert [cut.element for cut in found.cuts] == ["ups-a"]
    assert [one.element for one in found.readings] == left
    assert found.trouble.startswith(f"{path}: ")
    assert says in found.trouble
    path.write_text(f'{{"cuts": [], "readings": {entries}}}')
    assert (FileSignal(path).read().cuts, FileSignal(path).read().trouble) == ((), found.trouble)


def test_a_cut_that_makes_no_sense_costs_all(path: Path) -> None:
    path.write_text(f'{{"cuts": [{{"element": "r1", "reason": "x", "percent": 0}}], "readings": [{GOOD}]}}')
    with pytest.raises(SignalError, match=r"cuts\.0\.percent"):
        FileSignal(path).read()


def test_of_many_troubles_a_few_are_told(path: Path) -> None:
    bad = ", ".join(f'{{"element": "r{number}", "celsius": NaN}}' for number in range(20))
    path.write_text(f'{{"cuts": [], "readings": [{bad}]}}')
    trouble = FileSignal(path).read().trouble
    assert trouble.count("readings.") == 3
    assert trouble.endswith("; and 17 more")


READING = '{{"readings": [{{"element": "r1", {}}}]}}'
CUT = '{{"cuts": [{{"element": "r1", "reason": "x", {}}}]}}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Invalid JSON"),
        ("{", "Invalid JSON"),
        ("[]", "object"),
        ("{}", "has neither"),
        (b"\xff\xfe", "Invalid JSON"),
        ('{"cuts": [1]}', "cuts.0"),
        ('{"cuts": [{"percent": 5, "reason": "x"}]}', "cuts.0.element: Field required"),
        ('{"cuts": [{"element": "r1", "percent": 5}]}', "cuts.0.reason: Field required"),
        (CUT.format('"percent": 0'), "greater than 0"),
        (CUT.format('"percent": -5'), "is no percentage"),
        (CUT.format('"percent": 100.5'), "is no percentage"),
        (CUT.format('"percent": NaN'), "cuts.0.percent"),
        (CUT.format('"percent": "NaN"'), "cuts.0.percent"),
        (CUT.format('"percent": "1/0"'), "cuts.0.percent"),
        (CUT.format('"percent": "1e999999999"'), "cuts.0.percent"),
        (CUT.format('"percent": 1e999'), "cuts.0.percent"),
        (CUT.format('"limit": 5').replace('"x"', '"a\\nb"'), "'reason' is a line of text"),
        (CUT.format('"percent": true'), "is not a number"),
        (CUT.format('"limit": -1'), "greater than or equal to 0"),
        (CUT.format('"limit": 1.5'), "cuts.0.limit"),
        (CUT.format('"limit": "much"'), "cuts.0.limit"),
        (CUT.format('"limit": "-5kW"'), "cuts.0.limit"),
        (CUT.format('"limit": 5, "percent": 5'), "and not both"),
        (CUT.format('"end": "2026-11-27T17:00:00Z"'), "and not both"),
        (CUT.format('"limit": 5, "end": "2026-11-27T17:00:00"'), "a time says its zone"),
        (CUT.format('"limit": 5, "start": "2026-11-27T17:00:00Z", "end": "2026-11-27T17:00:00Z"'), "after its start"),
        (CUT.format('"limit": 5, "untill": "2026-11-27T17:00:00Z"'), "untill"),
        ('{"cuts": [], "caps": []}', "caps"),
        ('{"cuts": null}', "cuts: "),
        ('{"readings": null}', "readings: "),
        ('{"readings": [1]}', "readings.0"),
        ('{"readings": [{"watts": 1}]}', "readings.0.element: Field required"),
        (READING.format('"reason": "x"'), "readings.0.reason"),
        (READING.format('"kind": "feed"'), "readings.0: "),
        (READING.format('"kind": "room", "watts": 1'), "readings.0.kind"),
        (READING.format('"watts": NaN'), "readings.0.watts: "),
        (READING.format('"watts": Infinity'), "readings.0.watts: "),
        (READING.format('"watts": 1e999'), "readings.0.watts: "),
        (READING.format('"watts": "NaN"'), "readings.0.watts: "),
        (READING.format('"watts": "much"'), "readings.0.watts: "),
        (READING.format('"watts": "-5kW"'), "readings.0.watts: "),
        (READING.format('"watts": true'), "readings.0.watts: "),
        (READING.format('"watts": [1]'), "readings.0.watts: "),
        (READING.format('"celsius": NaN'), "readings.0.celsius: "),
        (READING.format('"celsius": "31.5"'), "readings.0.celsius: "),
        (READING.format('"breaker": "tripped"'), "readings.0.breaker: "),
        (READING.format('"breaker": true'), "readings.0.breaker: "),
        (READING.format('"watts": 1, "at": "2026-11-27T17:00:00"'), "a time says its zone"),
        (READING.format('"watts": 1, "at": "yesterday"'), "readings.0.at: "),
        (READING.format('"watts": 1, "phase": ""'), "readings.0.phase: "),
        (READING.format('"watts": 1}, {"element": "r1", "watts": 2'), "the power of zone 'r1' comes twice"),
        (READING.format('"watts": 1}, {"element": "r1", "watts": 2, "phase": "L1"'), "as a whole and by 'phase'"),
        ('{"cuts": [' + ",".join([CUT.format('"limit": 5')[10:-2]] * 1_001) + "]}", "1000"),
        (b" " * (1 << 20) + b" ", "is longer than"),
    ],
)
def test_what_makes_no_sense_is_named(path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(SignalError) as caught:
        read(path, text)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_hundred_megabytes_are_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(SignalError, match="is longer than"):
        FileSignal(path).read()


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    places = ((tmp_path, "cannot be read|no plain file"), (pipe, "no plain file"), (tmp_path / "none", "No such"))
    for there, says in places:
        with pytest.raises(SignalError, match=says):
            FileSignal(there).read()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    for _ in range(20):
        with pytest.raises(SignalError):
            FileSignal(tmp_path).read()
    assert len(list(opened.iterdir())) == before


# -- over HTTP -------------------------------------------------------------------------------------------------------


def fetched(does: Behaviour) -> FacilitySignal:
    with Hostile(does) as server:
        return UrlSignal(Web(server.url, 2), server.url, lambda: FIVE_PM).read()


def test_the_same_over_http() -> None:
    found = fetched(answers((EXAMPLE[:-1] + ", " + EXAMPLE_OF_READINGS[1:]).encode()))
    assert found.cuts == (AskedCut("ups-a", "grid event", None, FIVE_PM, None, Fraction(25)),)
    assert found.readings == (Reading(Kind.ZONE, "rack01", Quantity.POWER, 18_500, FIVE_PM - TWO_PM),)


@pytest.mark.parametrize(
    ("modified", "written_at"),
    [
        ("Fri, 27 Nov 2026 14:00:00 GMT", TWO_PM),
        ("Fri, 27 Nov 2026 14:00:00 -0000", TWO_PM),
        ("", FIVE_PM),
        ("yesterday", FIVE_PM),
        ("Fri, 99 Nov 2026 14:00:00 GMT", FIVE_PM),
        ("Fri, 27 Nov 9999999999 14:00:00 GMT", FIVE_PM),
    ],
)
def test_when_it_was_written_over_http(modified: str, written_at: int) -> None:
    found = fetched(shows({"readings": [{"element": "r1", "watts": 1}]}, Last_Modified=modified))
    assert found.written_at == written_at
    assert found.readings[0].age_s == FIVE_PM - written_at
    assert fetched(shows({"cuts": []})).written_at == FIVE_PM


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (answers(b"<html>"), "the document: Invalid JSON"),
        (answers(b"[" * 100_000), "the document: Invalid JSON"),
        (answers(b" " * ((1 << 20) + 1)), "is longer than 1048576 bytes"),
        (floods(100 << 20), "is longer than"),
        (shows({"readings": [{"element": "r1", "watts": float("nan")}]}), "readings.0.watts"),
        (shows({"cuts": []}, 404), "answers 404"),
        (redirects("http://192.0.2.1/"), "answers 302"),
    ],
)
def test_what_makes_no_sense_over_http(does: Behaviour, says: str) -> None:
    with pytest.raises(SignalError, match=says) as caught:
        fetched(does)
    assert str(caught.value).startswith("http://127.0.0.1:")


def test_nothing_over_http() -> None:
    with Hostile(drips_body) as server, pytest.raises(SignalError, match=r"no answer within 0\.1 s"):
        UrlSignal(Web(server.url, 0.1), server.url).read()
    url = refused()
    with pytest.raises(SignalError, match="Connection refused"):
        UrlSignal(Web(url, 1), url).read()


def test_sources_of_the_site_file(tmp_path: Path) -> None:
    times = {"every": "1s", "stale": "2s"}
    path, secret, own = tmp_path / "signal.json", tmp_path / "secret", certificate(tmp_path)
    path.write_text(EXAMPLE)
    config = SignalFile.model_validate({"type": "file", "path": str(path), **times})
    assert len(open_signal(config).read().cuts) == 1
    secret.write_text("token: sesame")
    secret.chmod(0o600)
    with Hostile(asks_for(bearer("sesame"), answers(EXAMPLE.encode())), own) as server:
        url = {"type": "http", "url": server.url + "/signal/?site=1", **times}
        trusted = {"credentials": str(secret), "verify": str(own.file)}
        assert len(open_signal(ConfiguredUrl.model_validate(url | trusted)).read().cuts) == 1
        assert server.questions[0].target == "/signal/?site=1"
        with pytest.raises(SignalError, match="TLS"):
            open_signal(ConfiguredUrl.model_validate(url)).read()
