"""The admission record in the admin comment: written, found, replaced, never forged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.record import AdmissionRecord, Charge, Standing, find_record, put_record

ADMITTED = AdmissionRecord(
    "Zk3_x-9", Standing.ADMIT, "gold", (Charge("rack07", 2, 18_500, 24_000), Charge("rack08", 1, 9_250, 12_000))
)
ADMITTED_TEXT = "power:id=Zk3_x-9,v=admit,tier=gold,zones=rack07/2/18500/24000+rack08/1/9250/12000"
HELD = AdmissionRecord("lua-7", Standing.HOLD, hold="both")
FREE = AdmissionRecord("f", Standing.FREE)

WORDS = st.text("abzAZ019_.-", min_size=1, max_size=12)
NUMBERS = st.integers(0, 10**12)
RECORDS = st.builds(
    AdmissionRecord,
    token=WORDS,
    standing=st.sampled_from(Standing),
    tier=st.one_of(st.just(""), WORDS),
    charges=st.lists(st.builds(Charge, WORDS, NUMBERS, NUMBERS, NUMBERS), max_size=3).map(tuple),
    hold=st.sampled_from(["", "power", "user", "both"]),
)
OTHERS = st.one_of(st.text(), st.text(" ;,=:/+\tpowerid\u00a0", max_size=30))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (ADMITTED, ADMITTED_TEXT),
        (HELD, "power:id=lua-7,v=hold,hold=both"),
        (FREE, "power:id=f,v=free"),
    ],
)
def test_the_text_of_a_record(record: AdmissionRecord, text: str) -> None:
    assert record.encode() == text
    assert find_record(text) == record


@pytest.mark.parametrize("comment", ["{}", "others {}", "others;{}", "others;{};more", "a\t{}\nb", "xpower:id=z;{}"])
def test_a_record_is_found_among_the_text_of_others(comment: str) -> None:
    assert find_record(comment.replace("{}", ADMITTED_TEXT)) == ADMITTED


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "others",
        "power:est=18.5kW",
        "power:",
        "power:id=",
        "power:id=,v=admit",
        "power:id=a",
        "power:id=a,v=",
        "power:id=a,v=ADMIT",
        "power:id=a,v=admitted",
        "power:v=admit,id=a",
        "xpower:id=a,v=admit",
        "foo-power:id=a,v=admit",
        "Power:id=a,v=admit",
        "\u00a0power:id=a,v=admit",
        "power:id=a,v=hold,v=admit",
        "power:id=a,id=b,v=admit",
        "power:id=a,v=admit,zones=rack07",
        "power:id=a,v=admit,zones=rack07/2/18500",
        "power:id=a,v=admit,zones=rack07/2/18500/24000+",
        "power:id=a,v=admit,zones=rack07/2/18500/24000+rack08/x/1/1",
        "power:id=a,v=admit,zones=rack07/-2/18500/24000",
        "power:id=a,v=admit,zones=rack07/2.0/18500/24000",
        "power:id=a,v=admit,zones=rack07/٢/18500/24000",
        "power:id=a,v=admit,zones=rack07/2/18500/" + "9" * 5_000,
        "power:id=a/b,v=admit",
    ],
)
def test_what_is_no_record_or_cannot_be_read_whole(comment: str) -> None:
    assert find_record(comment) is None


def test_fields_of_a_later_version_do_not_hide_a_record() -> None:
    assert find_record(f"{ADMITTED_TEXT},new=1") == ADMITTED


@pytest.mark.parametrize("forged", ["power:id=evil,v=free", "power:id=Zk3_x-9,v=admit,zones=rack01/9/1/1", "power:id="])
@pytest.mark.parametrize("comment", ["{forged};{ours}", "{forged} {ours}", "{ours};{forged}", "x\n{forged}\t{ours};y"])
def test_with_a_second_segment_neither_is_believed(comment: str, forged: str) -> None:
    told = comment.format(forged=forged, ours=ADMITTED_TEXT)
    assert find_record(told) is None
    assert find_record(put_record(told, HELD)) == HELD
    assert "evil" not in put_record(told, HELD)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ADMITTED_TEXT),
        ("others", f"others;{ADMITTED_TEXT}"),
        ("others; ", f"others;{ADMITTED_TEXT}"),
        ("power:id=lua-7,v=hold", ADMITTED_TEXT),
        ("others;power:id=lua-7,v=hold", f"others;{ADMITTED_TEXT}"),
        ("power:id=lua-7,v=hold;others", f"others;{ADMITTED_TEXT}"),
        ("power:id=a power:id=b;power:id=c", ADMITTED_TEXT),
        ("foo-power:id=a;power:est=5kW", f"foo-power:id=a;power:est=5kW;{ADMITTED_TEXT}"),
    ],
)
def test_put_replaces_ours_and_keeps_what_is_others(before: str, after: str) -> None:
    assert put_record(before, ADMITTED) == after


def test_put_nothing_takes_ours_out() -> None:
    assert put_record(f"others;{ADMITTED_TEXT}", None) == "others"
    assert put_record(f"{ADMITTED_TEXT};others", None) == "others"
    assert put_record(ADMITTED_TEXT, None) == ""
    assert put_record("others", None) == "others"


@pytest.mark.parametrize(
    "record",
    [
        AdmissionRecord("", Standing.ADMIT),
        AdmissionRecord("a;power:id=b", Standing.ADMIT),
        AdmissionRecord("a,v=free", Standing.ADMIT),
        AdmissionRecord("a b", Standing.ADMIT),
        AdmissionRecord("a", Standing.ADMIT, "gold,v=free"),
        AdmissionRecord("a", Standing.ADMIT, "go;ld"),
        AdmissionRecord("a", Standing.HOLD, hold="po wer"),
        AdmissionRecord("a", Standing.ADMIT, charges=(Charge("rack 1", 1, 1, 1),)),
        AdmissionRecord("a", Standing.ADMIT, charges=(Charge("rack1/9/9/9+x", 1, 1, 1),)),
        AdmissionRecord("a", Standing.ADMIT, charges=(Charge("", 1, 1, 1),)),
        AdmissionRecord("a", Standing.ADMIT, charges=(Charge("rack1", 1, -1, 1),)),
    ],
)
def test_words_that_would_not_read_back_are_refused(record: AdmissionRecord) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        record.encode()


@given(OTHERS, RECORDS)
def test_what_was_put_is_found_whatever_others_wrote(others: str, record: AdmissionRecord) -> None:
    assert find_record(put_record(others, record)) == record


@given(OTHERS, st.sampled_from([" ", ";", "\n"]), RECORDS, RECORDS)
def test_putting_again_replaces_and_does_not_pile_up(
    others: str, between: str, first: AdmissionRecord, second: AdmissionRecord
) -> None:
    once = put_record(f"{others}{between}{first.encode()}", second)
    assert once.count(second.encode()) >= 1
    assert find_record(once) == second
    assert put_record(once, second) == once
    assert len(put_record(once, first)) <= len(once) + len(first.encode())
    assert find_record(put_record(once, None)) is None


@given(OTHERS, RECORDS, OTHERS)
def test_a_record_is_found_as_it_is_or_not_at_all_among_later_text(
    before: str, record: AdmissionRecord, after: str
) -> None:
    comment = f"{put_record(before, record)};{after}"
    assert find_record(comment) in (record, None)
    if "power:id=" not in after:
        assert find_record(comment) == record


@given(OTHERS)
def test_text_of_others_without_our_segments_stays(others: str) -> None:
    if "power:id=" not in others:
        assert put_record(others, None) == others.strip(" ;")
        assert put_record(put_record(others, ADMITTED), None) == others.strip(" ;")
