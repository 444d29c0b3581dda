"""Queries to servers that are no Prometheus, are broken, or are hostile."""

import time
from pathlib import Path

import pytest

from slurm_power.adapters.telemetry.prometheus import node_name
from slurm_power.core.errors import TelemetryError
from tests.adapters.telemetry.hostile import (
    Behaviour,
    Hostile,
    Question,
    Wire,
    answers,
    asks_for,
    basic,
    certificate,
    drips_body,
    floods,
    redirects,
    refused,
    shows,
)
from tests.adapters.telemetry.queries import configured, read


def trouble(url: str, **keys: str) -> str:
    """What a reading ends with, soon enough."""
    begun = time.monotonic()
    with pytest.raises(TelemetryError) as caught:
        read(url, zone_watts="x", **keys)
    assert time.monotonic() - begun < 3
    assert str(caught.value).startswith(url)
    assert len(str(caught.value)) < 600
    return str(caught.value).removeprefix(url)


def vector(*result: object) -> Behaviour:
    data = {"resultType": "vector", "result": result}
    return shows({"status": "success", "data": data, "warnings": ["PromQL info: well"]})


def test_what_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    with Hostile(vector({"metric": {"zone": "a"}, "value": [1.5, "7"]})) as server:
        source = configured(server.url + "/prometheus/", zone_watts="x + y", zone_celsius="z")
        assert [one.value for one in source.read().readings] == [7, 7]
        targets = [question.target for question in server.questions]
    bounds = "lookback_delta=2s&timeout=1s&partial_response=false"
    assert targets == [
        f"/prometheus/api/v1/query?query=x+%2B+y&{bounds}",
        f"/prometheus/api/v1/query?query=z&{bounds}",
        "/prometheus/api/v1/query?query=vector%280%29&lookback_delta=nonsense",
    ]
    assert "does not know lookback_delta" in caplog.text


def test_whether_it_knows_how_far_to_look_back_never_costs_readings(caplog: pytest.LogCaptureFixture) -> None:
    good = vector({"metric": {"zone": "a"}, "value": [1.5, "7"]})
    asked: list[int] = []

    def server_with(status: int) -> Behaviour:
        refusal = answers(b"", status)

        def does(*args: object) -> None:
            nonsense = "nonsense" in args[1].target  # type: ignore[attr-defined]
            asked.append(nonsense)
            (refusal if nonsense else good)(*args)  # type: ignore[arg-type]

        return does

    for status, times in ((400, 1), (503, 2)):
        asked.clear()
        with Hostile(server_with(status)) as server:
            source = configured(server.url, zone_watts="x")
            assert [one.value for one in (*source.read().readings, *source.read().readings)] == [7, 7]
        assert asked.count(True) == times
    assert caplog.text == ""


@pytest.mark.parametrize("warnings", [[], None, 7, ["PromQL warning: metric might not be a counter"]])
def test_remarks_on_a_query_cost_nothing(warnings: object) -> None:
    result = [{"metric": {"zone": "a"}, "value": [1, "7"]}]
    with Hostile(shows({"data": {"resultType": "vector", "result": result}, "warnings": warnings})) as server:
        assert [one.value for one in configured(server.url, zone_watts="x").read().readings] == [7]


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (drips_body, "no answer within 1 s"),
        (floods(100 << 20), "the answer is longer than"),
        (redirects("http://192.0.2.1/"), "zone_watts: "),
        (answers(b"<html>"), "the answer is no JSON"),
        (shows([]), "zone_watts: the answer is none of Prometheus's: it has no 'data'"),
        (shows({"status": "success"}), "it has no 'data'"),
        (shows({"data": None}), "zone_watts: the answer is none of Prometheus's"),
        (shows({"data": {}, "warnings": ["No StoreAPIs matched"]}), "its answer is not whole: No StoreAPIs matched"),
        (shows({"data": {"resultType": "vector"}}), "data.result: Field required"),
        (shows({"data": {"resultType": "vector", "result": {}}}), "data.result: "),
        (vector({"metric": {"zone": "a"}, "histogram": []}), "data.result.0.value: Field required"),
        (vector({"metric": {"zone": "a"}, "value": [1, "much"]}), "'much' is no number"),
        (vector({"metric": {"zone": "a"}, "value": [1]}), "data.result.0.value"),
        (vector({"metric": {"zone": 7}, "value": [1, "1"]}), "data.result.0.metric.zone"),
        (vector({"metric": {"rack": "x" * 5_000}, "value": [1, "1"]}), "has no label 'zone'"),
        (shows({"status": "error", "errorType": "bad", "error": "a\nb" * 999}, 400), "zone_watts: bad: a b"),
        (answers(b"<html>", 502), "answers 502 So"),
        (answers(b"who?", 401), "answers 401 So"),
    ],
)
def test_what_is_no_answer(does: Behaviour, says: str) -> None:
    with Hostile(does) as server:
        assert says in trouble(server.url)


def test_nobody_answers() -> None:
    assert "Connection refused" in trouble(refused())


def test_with_tls_and_credentials(tmp_path: Path) -> None:
    own, secret = certificate(tmp_path), tmp_path / "secret"
    secret.write_text("{user: reader, password: sesame}")
    secret.chmod(0o600)
    with Hostile(asks_for(basic("reader", "sesame"), vector()), own) as server:
        trusted = {"verify": str(own.file), "credentials": str(secret)}
        assert read(server.url, zone_watts="x", **trusted) == []
        assert "TLS: " in trouble(server.url, credentials=str(secret))
        assert "answers 401" in trouble(server.url, verify=str(own.file))
        secret.chmod(0o644)
        with pytest.raises(TelemetryError, match="chmod 600"):
            read(server.url, zone_watts="x", **trusted)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("gpu001", "gpu001"),
        ("gpu001:9290", "gpu001"),
        ("gpu001.example.org", "gpu001"),
        ("gpu001.example.org:9290", "gpu001"),
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.5:9290", "10.0.0.5"),
        ("[fe80::1]:9290", "fe80::1"),
        ("[fe80::1]", "fe80::1"),
        ("fe80::1", "fe80::1"),
        ("10.0.0.5.example.org", "10"),
        (":9290", ""),
        ("", ""),
    ],
)
def test_names_of_nodes(label: str, name: str) -> None:
    assert node_name(label) == name


def test_a_node_twice_is_told() -> None:
    labels = ({"node": "gpu001:9290"}, {"node": "gpu001:9100"})
    twice = vector(*({"metric": one, "value": [1, "1"]} for one in labels))
    with Hostile(twice) as server, pytest.raises(TelemetryError, match="'gpu001', which differ in node"):
        read(server.url, node_watts="x")


def test_a_query_that_hangs_costs_no_other() -> None:
    good = vector({"metric": {"zone": "a"}, "value": [1.5, "7"]})

    def does(wire: Wire, question: Question) -> None:
        (drips_body if "query=slow" in question.target else good)(wire, question)

    with Hostile(does) as server:
        told = configured(server.url, zone_watts="quick", zone_celsius="slow", feed_breaker="slow").read()
        assert told.trouble.startswith(f"{server.url}: zone_celsius, feed_breaker: ")
    assert [one.value for one in told.readings] == [7]
    assert told.trouble.count("no answer within 1 s") == 1


def test_a_value_that_is_none_costs_its_element() -> None:
    values = (("a", "much"), ("b", "7"))
    with Hostile(vector(*({"metric": {"zone": zone}, "value": [1, text]} for zone, text in values))) as server:
        told = configured(server.url, zone_watts="x").read()
    assert [(one.element, one.value) for one in told.readings] == [("b", 7)]
    assert "'much' is no number" in told.trouble


def test_a_total_among_inlets_costs_its_element() -> None:
    inlets = (("a", "total", 12_050), ("a", "1", 4_000), ("a", "2", 4_000), ("a", "3", 4_000), ("b", "1", 7))
    series = [
        {"metric": {"zone": zone, "outlet": inlet}, "value": [1, str(value)]} for zone, inlet, value in inlets
    ]
    with Hostile(vector(*series)) as server:
        told = configured(server.url, zone_watts="x", inlet_label="outlet").read()
    assert [(one.element, one.value) for one in told.readings] == [("b", 7)]
    assert told.trouble.endswith(
        ": zone_watts: inlet 'total' of zone 'a' (12050 W) is the sum of 1, 2, 3: a total and its parts would count "
        "twice; filter by the label 'outlet'"
    )


def test_of_many_troubles_a_few_are_told() -> None:
    twice = [{"metric": {"zone": f"z{number // 2}"}, "value": [1, "1"]} for number in range(20)]
    with Hostile(vector(*twice, {"metric": {"zone": "good"}, "value": [1, "1"]})) as server:
        told = configured(server.url, zone_watts="x").read()
    assert [one.element for one in told.readings] == ["good"]
    assert told.trouble.count("several series") == 3
    assert told.trouble.endswith("; and 7 more")
