"""A small HTTP server that misbehaves, for the tests of whatever reads over HTTP. Loopback alone.

    with Hostile(hangs) as server:
        Web(server.url, 0.3).get()

What it does with a question is a function `(wire, question)`; those here are enough for most:

    answers(body, status, **headers)    a plain answer; `_` in the name of a header stands for `-`
    shows(value, status, **headers)     the same with `value` as JSON
    routes({path: behaviour})           by path, without its query; 404 for all others
    asks_for(authorization, behaviour)  401 unless the header Authorization is that: see `basic` and `bearer`
    hangs                               takes the question and never answers
    drips_headers, drips_body,          one byte after the other, for ever; each comes within any sensible
    drips_chunks                        time-out for one read
    continues                           "100 Continue" for ever
    floods(size), floods_chunked(size)  so many bytes of JSON, with and without a Content-Length
    bomb(size)                          a few kilobytes of gzip that become `size` bytes
    redirects(to)                       302
    cut_off                             half of the answer that it announced, then the end
    garbage                             no HTTP at all

`server.questions` is all that was asked, in order, `server.connections` over how many connections. With
`tls=certificate(folder)` it speaks TLS: the certificate is for 127.0.0.1 and signed by itself; `Certificate.file` is
what a client would have to trust. With `at_once=True` it does what it does as soon as somebody connects, before any
question or handshake. `refused()` is a URL where nobody listens.
"""

import base64
import contextlib
import gzip
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PAUSE_S = 0.02
"""Between two drops."""
_PIECE = b"1" * (1 << 16)


@dataclass(frozen=True)
class Question:
    """One request; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class Wire:
    """The connection to one client, until the server ends."""

    def __init__(self, connection: socket.socket, over: threading.Event) -> None:
        self._connection = connection
        self.over = over

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def drip(self, data: bytes) -> None:
        """The same bytes again and again, one by one."""
        while True:
            for byte in data:
                if self.over.wait(PAUSE_S):
                    return
                self.send(bytes([byte]))


Behaviour = Callable[[Wire, Question], None]


def answers(body: bytes = b"{}", status: int = 200, **headers: str) -> Behaviour:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}", *lines])
    return lambda wire, _: wire.send(head.encode() + b"\r\n\r\n" + body)


def shows(value: object, status: int = 200, **headers: str) -> Behaviour:
    return answers(json.dumps(value).encode(), status, Content_Type="application/json", **headers)


def routes(behaviours: Mapping[str, Behaviour]) -> Behaviour:
    nowhere = answers(b"", 404)
    return lambda wire, question: behaviours.get(question.path, nowhere)(wire, question)


def asks_for(authorization: str, behaviour: Behaviour) -> Behaviour:
    refusal = answers(b"who are you?", 401)

    def does(wire: Wire, question: Question) -> None:
        known = question.headers.get("authorization") == authorization
        (behaviour if known else refusal)(wire, question)

    return does


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(token: str) -> str:
    return f"Bearer {token}"


def hangs(wire: Wire, question: Question) -> None:
    wire.over.wait()


def drips_headers(wire: Wire, question: Question) -> None:
    wire.send(b"HTTP/1.1 200 So\r\nX-Long: ")
    wire.drip(b"a")


def drips_body(wire: Wire, question: Question) -> None:
    wire.send(b"HTTP/1.1 200 So\r\nContent-Length: 1000000\r\n\r\n")
    wire.drip(b" ")


def drips_chunks(wire: Wire, question: Question) -> None:
    wire.send(b"HTTP/1.1 200 So\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.drip(b"1\r\n \r\n")


def continues(wire: Wire, question: Question) -> None:
    while not wire.over.wait(PAUSE_S):
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")


def floods(size: int) -> Behaviour:
    def does(wire: Wire, question: Question) -> None:
        wire.send(f"HTTP/1.1 200 So\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // len(_PIECE)):
            wire.send(_PIECE)
        wire.send(_PIECE[: size % len(_PIECE)])

    return does


def floods_chunked(size: int) -> Behaviour:
    def does(wire: Wire, question: Question) -> None:
        wire.send(b"HTTP/1.1 200 So\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(size // len(_PIECE)):
            wire.send(f"{len(_PIECE):x}\r\n".encode() + _PIECE + b"\r\n")
        wire.send(b"0\r\n\r\n")

    return does


def bomb(size: int) -> Behaviour:
    return answers(gzip.compress(b" " * size), Content_Encoding="gzip")


def redirects(to: str) -> Behaviour:
    return answers(b"", 302, Location=to)


def cut_off(wire: Wire, question: Question) -> None:
    wire.send(b'HTTP/1.1 200 So\r\nContent-Length: 100\r\n\r\n{"half": ')
    wire.close()


def garbage(wire: Wire, question: Question) -> None:
    wire.send(b"\x00\xff no HTTP\r\n\r\n")
    wire.close()


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key."""

    file: Path
    key: Path


def certificate(folder: Path, name: str = "server") -> Certificate:
    """A new one for 127.0.0.1, signed by itself."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(made.key)]
    subject = ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *subject, "-out", str(made.file)], check=True, capture_output=True, timeout=20
    )
    return made


def refused() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


class Hostile:
    """The server, in threads of its own, until the `with` ends."""

    def __init__(self, does: Behaviour, tls: Certificate | None = None, at_once: bool = False) -> None:
        self.does = does
        self._at_once = at_once
        self.questions: list[Question] = []
        self._over = threading.Event()
        self._wires: list[Wire] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls.file, tls.key)

    @property
    def url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self._wires)

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nobody listens any more, and nobody is answered."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in self._wires:
            wire.close()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):  # the client has gone, or the server ends
            if self._context is not None and not self._at_once:
                connection = self._context.wrap_socket(connection, server_side=True)
            wire = Wire(connection, self._over)
            self._wires.append(wire)
            if self._at_once:
                self.does(wire, Question("", "", {}))
            with connection, connection.makefile("rb") as lines:
                while not self._over.is_set() and (first := lines.readline()):
                    question = _question(first, iter(lines.readline, b"\r\n"))
                    self.questions.append(question)
                    self.does(wire, question)


def _question(first: bytes, lines: Iterator[bytes]) -> Question:
    method, target, _ = first.decode("latin-1").split(" ", 2)
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return Question(method, target, {name.strip().lower(): value.strip() for name, _, value in pairs})
