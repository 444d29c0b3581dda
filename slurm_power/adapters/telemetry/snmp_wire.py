"""Questions and answers of SNMP as bytes: what versions 2c and 3 have in common, and all of 2c (RFC 3416, 1901).

The messages, their encoding and the ciphers are pysnmp's. Its engine (7.1.30, measured with 500 devices) is not used:
it forgets each device's clock after five minutes and asks everything twice from then on (lextudio/pysnmp#245), takes an
answer from another device that knows its own keys, and mixes up two devices with the same user and other keys.
"""

from collections.abc import Sequence
from enum import StrEnum
from secrets import randbits
from typing import Any, Protocol

from pyasn1.codec.ber import decoder, encoder
from pyasn1.type import univ
from pysnmp.proto import rfc1901, rfc1902, rfc1905

from slurm_power.adapters.telemetry.snmp_link import Link
from slurm_power.config.snmp_names import Oid
from slurm_power.core.immutable import immutable

_MESSAGE = rfc1901.Message()
_NULL = univ.Null("")
_NO_NUMBERS = (rfc1902.IpAddress, rfc1902.Opaque, rfc1902.Bits, rfc1902.TimeTicks)
_LEAST, _MOST = -(1 << 63), 1 << 64
STATUS = (
    *("noError", "tooBig", "noSuchName", "badValue", "readOnly", "genErr", "noAccess", "wrongType", "wrongLength"),
    *("wrongEncoding", "wrongValue", "noCreation", "inconsistentValue", "resourceUnavailable", "commitFailed"),
    *("undoFailed", "authorizationError", "notWritable", "inconsistentName"),
)


class Absence(StrEnum):
    """What stands in place of a value."""

    OBJECT = "noSuchObject"
    INSTANCE = "noSuchInstance"
    END = "endOfMibView"


_ABSENT = {type(rfc1905.noSuchObject): Absence.OBJECT, type(rfc1905.noSuchInstance): Absence.INSTANCE}
_ABSENT[type(rfc1905.endOfMibView)] = Absence.END


@immutable
class Binding:
    """One object and its value; None for a value that is neither a number nor text, whose type is `kind`."""

    oid: Oid
    value: int | bytes | Absence | None
    kind: str


@immutable
class Question:
    """GET of all these objects; with `rows`, GETBULK of so many after the only one."""

    oids: tuple[Oid, ...]
    rows: int = 0


@immutable
class Answer:
    """What came back. index: the object that `status` is about, counted from 1; 0: none in particular."""

    request_id: int
    status: int
    index: int
    bindings: Sequence[Binding]
    report: bool = False
    """The other side says that it cannot take the message."""

    @property
    def error(self) -> str:
        """The name of its status; empty where there is no error."""
        if not self.status:
            return ""
        return STATUS[self.status] if 0 < self.status < len(STATUS) else f"error {self.status}"


class Dialect(Protocol):
    """A version of SNMP with the secrets that it takes."""

    def ask(self, link: Link, question: Question) -> Answer:
        """What is answered. Raises TelemetryError."""

    def forget(self) -> None:
        """Nothing more is taken for granted of the other side."""


class Community:
    """Version 2c."""

    def __init__(self, community: str) -> None:
        self._community = community.encode()

    def ask(self, link: Link, question: Question) -> Answer:
        """What is answered. Raises TelemetryError."""
        request_id = randbits(31)
        message = rfc1901.Message()
        message[0], message[1] = 1, self._community
        message[2][choice(question)] = pdu_of(question, request_id)

        def accept(datagram: bytes) -> Answer | None:
            found, _ = decoder.decode(datagram, asn1Spec=_MESSAGE)
            answer = answer_of(found[2])
            return answer if int(found[0]) == 1 and not answer.report and answer.request_id == request_id else None

        return link.ask(
            encoder.encode(message),
            accept,
            "a wrong community is met with silence, and so is who is not on the device's list of managers",
        )

    def forget(self) -> None:
        """There is nothing to forget."""


def pdu_of(question: Question, request_id: int) -> Any:
    """The question in the form of RFC 3416."""
    pdu = rfc1905.GetBulkRequestPDU() if question.rows else rfc1905.GetRequestPDU()
    pdu[0], pdu[1], pdu[2] = request_id, 0, question.rows
    bindings = pdu.setComponentByPosition(3)[3]
    bindings.clear()  # an empty list, and not one that nobody has thought of
    for number, oid in enumerate(question.oids):
        binding = rfc1905.VarBind()
        binding[0] = oid
        binding[1]["unSpecified"] = _NULL
        bindings[number] = binding
    return pdu


def choice(question: Question) -> str:
    """The name of its form."""
    return "get-bulk-request" if question.rows else "get-request"


def answer_of(pdus: Any) -> Answer:
    """A response or report. Raises ValueError for any other."""
    if pdus.getName() not in ("response", "report"):
        raise ValueError("not an answer")
    pdu = pdus.getComponent()
    bindings = [_binding(tuple(one[0]), one[1].getComponent(innerFlag=True)) for one in pdu[3]]
    return Answer(int(pdu[0]), int(pdu[1]), int(pdu[2]), bindings, pdus.getName() == "report")


def _binding(oid: Oid, value: Any) -> Binding:
    kind = type(value).__name__
    absent = _ABSENT.get(type(value))
    if absent is not None:
        return Binding(oid, absent, kind)
    if isinstance(value, univ.Integer) and not isinstance(value, _NO_NUMBERS):
        number = int(value)
        return Binding(oid, number if _LEAST <= number < _MOST else None, kind)
    if isinstance(value, univ.OctetString) and not isinstance(value, _NO_NUMBERS):
        return Binding(oid, bytes(value), kind)
    return Binding(oid, None, kind)
