"""GET against servers that do what they should not: each answer or trouble within bounds of time, size and trust."""

import gzip
import resource
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from slurm_power.adapters.telemetry.web import MOST_BYTES, BadStatus, Web
from slurm_power.core.errors import TelemetryError
from tests.adapters.telemetry.hostile import (
    Behaviour,
    Certificate,
    Hostile,
    answers,
    asks_for,
    basic,
    bearer,
    bomb,
    certificate,
    continues,
    cut_off,
    drips_body,
    drips_chunks,
    drips_headers,
    floods,
    floods_chunked,
    garbage,
    hangs,
    redirects,
    refused,
    routes,
    shows,
)

TIMEOUT_S = 2.0
SHORT_S = 0.1
HUNDRED_MB = 100 << 20


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("own"))


def trouble(url: str, verify: Path | None = None, timeout_s: float = TIMEOUT_S) -> str:
    """What a question ends with, soon enough."""
    begun = time.monotonic()
    with pytest.raises(TelemetryError) as caught:
        Web(url, timeout_s, verify=None if verify is None else str(verify)).json("/metrics")
    assert time.monotonic() - begun < timeout_s + 1
    assert str(caught.value).startswith(f"{url}/metrics: ")
    assert len(str(caught.value)) < 400
    return str(caught.value).removeprefix(f"{url}/metrics: ")


def test_a_good_answer_over_one_connection() -> None:
    with Hostile(routes({"/a/b": shows({"x": 1}), "/": shows([2])})) as server:
        web = Web(server.url, TIMEOUT_S)
        assert web.json("/a/b", {"query": 'x{y="ä"} + 1'}) == {"x": 1}
        assert web.json() == [2]
        first, second = server.questions
        assert server.connections == 1
        web.close()
    assert first.target == "/a/b?query=x%7By%3D%22%C3%A4%22%7D+%2B+1"
    assert second.target == "/"


def test_the_url_is_asked_as_it_is_written() -> None:
    with Hostile(shows([])) as server:
        for url, path, target in (
            ("/signal/", "", "/signal/"),
            ("/signal?site=1", "", "/signal?site=1"),
            ("/base/", "/api", "/base/api"),
        ):
            Web(server.url + url, TIMEOUT_S).get(path)
            assert server.questions[-1].target == target


@pytest.mark.parametrize("does", [hangs, drips_headers, drips_body, drips_chunks, continues])
def test_time_is_bounded(does: Behaviour) -> None:
    with Hostile(does) as server:
        assert trouble(server.url, timeout_s=SHORT_S) == f"no answer within {SHORT_S} s"


@pytest.mark.parametrize("does", [floods(HUNDRED_MB), floods_chunked(HUNDRED_MB), bomb(HUNDRED_MB)])
def test_size_is_bounded(does: Behaviour) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Hostile(does) as server:
        assert trouble(server.url) == f"the answer is longer than {MOST_BYTES} bytes"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 40_000


def test_the_longest_answer_is_read() -> None:
    text = b"[" + b" " * (MOST_BYTES - 2) + b"]"
    for does in (answers(text), answers(gzip.compress(text), Content_Encoding="gzip")):
        with Hostile(does) as server:
            assert Web(server.url, 2).json() == []
    with Hostile(answers(text + b" ")) as server:
        assert "is longer than" in trouble(server.url)


def test_nobody_listens() -> None:
    assert trouble(refused()) == "cannot be reached: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (answers(b"<html>"), "the answer is no JSON"),
        (answers(b""), "the answer is no JSON"),
        (answers(b"\xff\xfe\xff"), "the answer is no JSON"),
        (answers(b"[" * 1_000_000), "the answer is no JSON"),
        (answers(b"9" * 100_000), "the answer is no JSON"),
        (cut_off, "cannot be reached: IncompleteRead"),
        (garbage, "cannot be reached: "),
        (answers(b"[]", Content_Encoding="br"), "the answer is packed with 'br'"),
        (answers(b"[]", Content_Encoding="gzip"), "the answer cannot be unpacked"),
        (answers(gzip.compress(b"[]")[:-9], Content_Encoding="gzip"), "the answer cannot be unpacked"),
        (answers(b"x", 500), "answers 500 So"),
        (answers(b"x", 404), "answers 404 So"),
        (redirects("http://192.0.2.1/elsewhere"), "answers 302 So; redirects are not followed"),
    ],
)
def test_what_is_no_good_answer(does: Behaviour, says: str) -> None:
    with Hostile(does) as server:
        assert trouble(server.url).startswith(says)


@pytest.mark.parametrize(("how", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)])
def test_answers_that_are_packed_unasked(how: str, pack: Callable[[bytes], bytes]) -> None:
    with Hostile(answers(pack(b"[1]"), Content_Encoding=how)) as server:
        assert Web(server.url, TIMEOUT_S).json() == [1]
        assert server.questions[0].headers["accept-encoding"] == "identity"


def test_a_bad_status_keeps_what_was_said() -> None:
    with Hostile(answers(b"why", 422)) as server, pytest.raises(BadStatus) as caught:
        Web(server.url, TIMEOUT_S).get()
    assert (caught.value.status, caught.value.body) == (422, b"why")


def test_a_redirect_gets_no_credentials(tmp_path: Path) -> None:
    with Hostile(shows([])) as elsewhere, Hostile(redirects(elsewhere.url)) as server:
        with pytest.raises(BadStatus, match="302"):
            Web(server.url, TIMEOUT_S, secret(tmp_path, "token: sesame")).get()
        assert elsewhere.questions == []


def test_no_cookies_and_nobody_else_s_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", refused())
    with Hostile(shows([], Set_Cookie="a=b")) as server:
        web = Web(server.url, TIMEOUT_S)
        web.get()
        web.get()
        assert not {"cookie", "authorization"} & server.questions[1].headers.keys()


# -- TLS -------------------------------------------------------------------------------------------------------------


def test_a_certificate_has_to_be_trusted(own: Certificate, tmp_path: Path) -> None:
    with Hostile(shows([1]), own) as server:
        assert Web(server.url, TIMEOUT_S, verify=str(own.file)).json() == [1]
        assert "TLS: [SSL: CERTIFICATE_VERIFY_FAILED]" in trouble(server.url)
        other = certificate(tmp_path, "other").file
        assert "TLS: [SSL: CERTIFICATE_VERIFY_FAILED]" in trouble(server.url, other)
        elsewhere = server.url.replace("127.0.0.1", "localhost")
        assert "TLS: " in trouble(elsewhere, own.file)
        assert "invalid path: /none" in trouble(server.url, Path("/none"))
        assert server.questions == server.questions[:1]


def test_tls_and_no_tls_do_not_go_together(own: Certificate) -> None:
    with Hostile(garbage, at_once=True) as server:
        assert trouble(server.url.replace("http:", "https:")).startswith("TLS: ")
    with Hostile(shows([]), own) as server:
        assert trouble(server.url.replace("https:", "http:")).startswith("cannot be reached: ")


@pytest.mark.parametrize("does", [drips_headers, drips_body])
def test_time_is_bounded_within_tls(own: Certificate, does: Behaviour) -> None:
    with Hostile(does, own) as server:
        assert trouble(server.url, own.file, SHORT_S) == f"no answer within {SHORT_S} s"


def test_a_handshake_that_never_comes() -> None:
    with Hostile(hangs, at_once=True) as server:
        assert trouble(server.url.replace("http:", "https:"), timeout_s=SHORT_S) == f"no answer within {SHORT_S} s"


# -- credentials -----------------------------------------------------------------------------------------------------


def secret(folder: Path, text: str) -> str:
    path = folder / "credentials"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("user: reader\npassword: sesame", basic("reader", "sesame")),
        ("user: reader\npassword: 'se:säme…'", basic("reader", "se:säme…")),
        ("token: sesame", bearer("sesame")),
    ],
)
def test_credentials_are_shown(tmp_path: Path, text: str, wanted: str) -> None:
    with Hostile(asks_for(wanted, shows([1]))) as server:
        with pytest.raises(BadStatus, match="answers 401"):
            Web(server.url, TIMEOUT_S).get()
        assert Web(server.url, TIMEOUT_S, secret(tmp_path, text)).json() == [1]


def test_credentials_change_without_a_restart(tmp_path: Path) -> None:
    texts: Mapping[str, str] = {
        "token: old": bearer("old"),
        "{user: reader, password: sesame}": basic("reader", "sesame"),
        "token: new": bearer("new"),
    }
    with Hostile(shows([])) as server:
        web = Web(server.url, TIMEOUT_S, secret(tmp_path, "token: old"))
        for text in texts:
            secret(tmp_path, text)
            web.get()
        assert [question.headers["authorization"] for question in server.questions] == list(texts.values())


@pytest.mark.parametrize("text", ["user: sesame", "{user: a, password: sesame, token: sesame}", "{}"])
def test_credentials_that_are_not_whole(tmp_path: Path, text: str) -> None:
    with Hostile(shows([])) as server:
        with pytest.raises(TelemetryError, match="'user' and 'password', or 'token' alone") as caught:
            Web(server.url, TIMEOUT_S, secret(tmp_path, text)).get()
        assert "sesame" not in str(caught.value)
        assert server.questions == []
