"""GET over HTTP with bounds on time and size, whatever the other side does."""

import base64
import http.client
import io
import json
import socket
import zlib
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from urllib3.connection import HTTPConnection, HTTPSConnection

from slurm_power.adapters.telemetry.credentials import read_credentials
from slurm_power.core.errors import TelemetryError
from slurm_power.core.immutable import immutable

MOST_BYTES = 4 << 20
"""The longest answer that is read, unpacked: ten thousand nodes from Prometheus take a third of it."""
_PIECE = 1 << 16
_MOST_SHOWN = 200
_KEYS = ("user", "password", "token")
_PLAIN, _PACKED = ("", "identity"), ("gzip", "x-gzip", "deflate")


class BadStatus(TelemetryError):
    """An answer whose status is not 200."""

    def __init__(self, message: str, status: int, body: bytes) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


@immutable
class Answer:
    """A good answer."""

    body: bytes
    headers: Mapping[str, str]
    """By name, whatever its case."""


class Web:
    """One server. Keeps its connection and no cookies; follows no redirects, for they would carry the credentials
    elsewhere.

    Connecting, the handshake of TLS and the answer may each take `timeout_s`; what the resolver takes is its own.
    """

    def __init__(self, url: str, timeout_s: float, credentials: str | None = None, verify: str | None = None) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._credentials = Path(credentials) if credentials is not None else None
        self._session = requests.Session()
        self._session.trust_env = False  # neither proxies nor .netrc of whoever starts the daemon
        self._session.verify = verify if verify is not None else True
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.cookies = _NoCookies()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Bounded())

    def json(self, path: str = "", query: Mapping[str, str] | None = None) -> Any:
        """What it answers, read as JSON. Raises TelemetryError."""
        text = self.get(path, query)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise TelemetryError(f"{self._place(path)}: the answer is no JSON") from None

    def get(self, path: str = "", query: Mapping[str, str] | None = None) -> bytes:
        """The body of a good answer. Raises TelemetryError, BadStatus where the status is not 200."""
        return self.answer(path, query).body

    def answer(self, path: str = "", query: Mapping[str, str] | None = None) -> Answer:
        """A good answer. Raises as `get` does."""
        place = self._place(path)
        signed = self._signed()
        try:
            with self._session.get(
                place, params=query, headers=signed, stream=True, timeout=self._timeout_s, allow_redirects=False
            ) as answer:
                body = _body(place, answer)
        except requests.exceptions.SSLError as error:
            raise TelemetryError(f"{place}: TLS: {_cause(error)}") from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise TelemetryError(f"{place}: no answer within {self._timeout_s:g} s") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise TelemetryError(f"{place}: cannot be reached: {_cause(error)}") from None
        if answer.status_code != requests.codes.ok:
            told = f"{place}: answers {answer.status_code} {shown(answer.reason)}"
            raise BadStatus(told + "; redirects are not followed" * answer.is_redirect, answer.status_code, body)
        return Answer(body, answer.headers)

    def close(self) -> None:
        """No more questions."""
        self._session.close()

    def _place(self, path: str) -> str:
        return self._url.rstrip("/") + path if path else self._url

    def _signed(self) -> Mapping[str, bytes]:
        """With the credentials as the file has them now: they are changed without a restart."""
        if self._credentials is None:
            return {}
        known = read_credentials(self._credentials, _KEYS)
        if known.keys() == {"token"}:
            return {"Authorization": b"Bearer " + known["token"].encode()}
        if known.keys() == {"user", "password"}:
            pair = base64.b64encode(f"{known['user']}:{known['password']}".encode())
            return {"Authorization": b"Basic " + pair}
        raise TelemetryError(f"{self._credentials}: has not 'user' and 'password', or 'token' alone")


def shown(text: str) -> str:
    """What somebody else wrote, as one line that is not long."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MOST_SHOWN])


def _body(place: str, answer: requests.Response) -> bytes:
    found = bytearray()
    while piece := answer.raw.read1(_PIECE, decode_content=False):
        found += piece
        if len(found) > MOST_BYTES:
            raise _too_long(place)
    return _unpacked(place, bytes(found), answer.headers.get("Content-Encoding", "").strip().lower())


def _unpacked(place: str, body: bytes, how: str) -> bytes:
    """Some devices pack their answers although nobody asked for it."""
    if how in _PLAIN:
        return body
    if how not in _PACKED:
        raise TelemetryError(f"{place}: the answer is packed with '{shown(how)}'")
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip as well as zlib
    try:
        found = unpacking.decompress(body, MOST_BYTES + 1)
    except zlib.error:
        raise TelemetryError(f"{place}: the answer cannot be unpacked") from None
    if len(found) > MOST_BYTES:
        raise _too_long(place)
    if not unpacking.eof:
        raise TelemetryError(f"{place}: the answer cannot be unpacked")
    return found


def _too_long(place: str) -> TelemetryError:
    return TelemetryError(f"{place}: the answer is longer than {MOST_BYTES} bytes")


def _cause(error: BaseException) -> str:
    """The outermost error of the system, else the innermost of all: these tell something."""
    while isinstance(error.__context__, BaseException) and not _of_the_system(error):
        error = error.__context__
    return shown(str(error))


def _of_the_system(error: BaseException) -> bool:
    return isinstance(error, OSError) and not isinstance(error, requests.RequestException)


class _NoCookies(RequestsCookieJar):
    """Keeps none: nobody needs them here, and they would pile up."""

    def set_cookie(self, cookie: object, *args: object, **kwargs: object) -> None:
        """Forget it."""


class _Until(io.RawIOBase):
    """What a socket gives up to an instant. The time-out of a socket begins anew with each byte."""

    def __init__(self, connection: socket.socket, raw: io.RawIOBase, until: float) -> None:
        self._connection = connection
        self._raw = raw
        self._until = until

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises TimeoutError."""
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """The socket as well, once its connection is closed."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """One whose headers, body and all that stands around its pieces have come within the time-out of the socket."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        until = monotonic() + (sock.gettimeout() or 0)
        self.fp = io.BufferedReader(_Until(sock, self.fp.detach(), until))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Bounded(HTTPAdapter):
    """Connections with such responses."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As it was, with pools of our own."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
