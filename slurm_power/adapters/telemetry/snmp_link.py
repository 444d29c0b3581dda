"""Datagrams to one device and back, within a time that ends for sure."""

import socket
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from slurm_power.core.errors import TelemetryError

T = TypeVar("T")
Address = tuple[int, Any]
"""The family of the address, and the address itself."""

MOST_BYTES = 1 << 14
"""The longest answer that is read. Thirty rows of a table take a tenth of it."""
_PORT = 161


class Host:
    """Where a device is, by name or address."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self._looking: Future[Address] | None = None
        self._found: Address | None = None

    def address(self, timeout_s: float) -> Address:
        """Its address, looked up once until `forget`. Raises TelemetryError."""
        if self._found is None:
            self._found = self._look(timeout_s)
        return self._found

    def forget(self) -> None:
        """Look it up again next time: the device may have moved."""
        self._found = None

    def _look(self, timeout_s: float) -> Address:
        name, port = self._split()
        try:
            return _resolve(name, port) if _numeric(name) else self._ask_resolver(name, port, timeout_s)
        except TimeoutError:
            raise TelemetryError(f"{self.text}: its name is not resolved within {timeout_s:g} s") from None
        except OSError as error:
            raise TelemetryError(f"{self.text}: its name cannot be resolved: {error.strerror}") from None

    def _ask_resolver(self, name: str, port: int, timeout_s: float) -> Address:
        """It takes as long as it likes, so it has a thread of its own: one, however often we are asked meanwhile."""
        if self._looking is None:
            self._looking = Future()
            Thread(target=_answer, args=(self._looking, name, port), daemon=True).start()
        looking = self._looking
        found = looking.exception(timeout_s)
        self._looking = None
        if found is not None:
            raise found
        return looking.result()

    def _split(self) -> tuple[str, int]:
        """Name and port of `host`, `host:port`, `[address]:port` or a bare address of IPv6."""
        name, colon, port = self.text.rpartition(":")
        if not colon or _numeric(self.text) or self.text.endswith("]"):
            return self.text.strip("[]"), _PORT
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16):
            raise TelemetryError(f"{self.text}: '{port}' is no port; for example pdu-a.example.org:161")
        return name.strip("[]"), int(port)


def _numeric(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _resolve(name: str, port: int) -> Address:
    try:
        family, _, _, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_DGRAM)[0]
    except ValueError:  # a label that is too long for IDNA
        raise OSError(0, "it is no name of a host") from None
    return family, address


def _answer(looking: Future[Address], name: str, port: int) -> None:
    try:
        looking.set_result(_resolve(name, port))
    except OSError as error:
        looking.set_exception(error)


class Link:
    """A socket to one device for one reading. It is connected: others are not heard, and a refusal is noticed.

    timeout_s: for all questions together. retries: how often each is asked again.
    """

    def __init__(self, host: Host, timeout_s: float, retries: int) -> None:
        self._host = host
        self._timeout_s = timeout_s
        self._until = monotonic() + timeout_s
        self._retries = retries
        self._odd = ""
        family, self._address = host.address(timeout_s)
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:  # too many files are open
            raise self.wrong(f"cannot be reached: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, message: bytes, accept: Callable[[bytes], T | None], silence: str) -> T:
        """Send it until `accept` makes something of an answer. Raises TelemetryError; `silence`: what none may mean.

        Whatever `accept` gives None for, or raises anything for, is passed over: anybody may send datagrams.
        """
        try:
            self._socket.connect(self._address)
            for left in range(self._retries, -1, -1):
                self._socket.send(message)
                found = self._wait(accept, self._pause_s(left))
                if found is not None:
                    return found
        except ConnectionRefusedError:
            raise self.wrong("nobody listens there (port unreachable): is SNMP switched on?") from None
        except OSError as error:
            raise self.wrong(f"cannot be reached: {error.strerror}") from None
        raise self.wrong(f"no answer within {self._timeout_s:g} s{self._odd}; {silence}")

    def wrong(self, problem: str) -> TelemetryError:
        """The error that tells of it."""
        return TelemetryError(f"{self._host.text}: {problem}")

    def _pause_s(self, left: int) -> float:
        """How long to wait for an answer, if it can be asked `left` times more."""
        remaining_s = self._until - monotonic()
        return remaining_s if not left else min(remaining_s, self._timeout_s / (self._retries + 1))

    def _wait(self, accept: Callable[[bytes], T | None], pause_s: float) -> T | None:
        until = monotonic() + pause_s
        while (remaining_s := until - monotonic()) > 0:
            self._socket.settimeout(remaining_s)
            try:
                datagram = self._socket.recv(MOST_BYTES + 1)
            except TimeoutError:
                return None
            found = self._accepted(accept, datagram)
            if found is not None:
                return found
        return None

    def _accepted(self, accept: Callable[[bytes], T | None], datagram: bytes) -> T | None:
        if len(datagram) > MOST_BYTES:
            self._odd = f", but a datagram of more than {MOST_BYTES} bytes"
            return None
        try:
            found = accept(datagram)
        except Exception:  # pyasn1 raises all sorts of errors for what is no SNMP
            found = None
        if found is None:
            self._odd = ", but a datagram that is no answer to the question"
        return found
