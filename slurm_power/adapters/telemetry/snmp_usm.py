"""Version 3 of SNMP as one user asks one device (RFC 3412, 3414): who it is, what time it has, then the question.

We are the side that is not authoritative, so the device's time is taken from whatever answers our message, by its
random id: what was recorded before answers none of ours, and needs no window of time to be told apart.
"""

import hmac
from collections.abc import Callable
from secrets import randbits
from time import monotonic
from typing import Any

from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto.mpmod.rfc3412 import ScopedPDU, SNMPv3Message
from pysnmp.proto.secmod.rfc3414.service import UsmSecurityParameters

from slurm_power.adapters.telemetry.snmp_keys import Cipher, User
from slurm_power.adapters.telemetry.snmp_link import MOST_BYTES, Link
from slurm_power.adapters.telemetry.snmp_wire import Answer, Question, answer_of, choice, pdu_of
from slurm_power.config.snmp_names import Oid
from slurm_power.core.immutable import immutable

_MESSAGE, _PARAMETERS, _SCOPED = SNMPv3Message(), UsmSecurityParameters(), ScopedPDU()
_VERSION, _USM = 3, 3
_LARGEST = (1 << 31) - 1
_AUTH, _PRIV, _REPORTABLE = 1, 2, 4
_TURNS = 4
"""Questions that one may take: the device's time is wrong, it is another device, and then the question itself."""
_STATS: Oid = (1, 3, 6, 1, 6, 3, 15, 1, 1)
_LATE, _NO_USER, _OTHER_ENGINE = 2, 3, 4
_REPORTS = {
    1: "usmStatsUnsupportedSecLevels: the device does not take this user with this much of security; "
    "does it expect 'auth' and 'priv' for it, or fewer?",
    _NO_USER: "usmStatsUnknownUserNames: the device has no such 'user'",
    5: "usmStatsWrongDigests: 'auth' or 'auth_protocol' is not what the device has for this user",
    6: "usmStatsDecryptionErrors: 'priv' or 'priv_protocol' is not what the device has for this user; "
    "some devices take aes192c or aes256c where they say AES-192 or AES-256",
}


@immutable
class _Header:
    """What version 3 says around an answer."""

    engine: bytes
    boots: int
    time_s: int
    flags: int


@immutable
class _Reply:
    header: _Header
    answer: Answer


class Usm:
    """One user's questions to one device. What is known of the device is kept from one question to the next."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._level = (_AUTH if user.authenticates else 0) | (_PRIV if user.encrypts else 0)
        self._boots = self._time_s = 0
        self._since = 0.0
        self.forget()

    def ask(self, link: Link, question: Question) -> Answer:
        """What is answered. Raises TelemetryError."""
        remembered = bool(self._engine)
        for _ in range(_TURNS):
            if not self._engine:
                self._discover(link)
            reply = self._exchange(link, question)
            if not reply.answer.report:
                return reply.answer
            cause = _cause(reply.answer)
            if cause == _OTHER_ENGINE or (cause == _NO_USER and remembered):  # some say that of another's id too
                self.forget()
                remembered = False
            elif cause != _LATE:
                raise link.wrong(_told(reply.answer, cause))
        raise link.wrong("does not take the time that it has told itself (usmStatsNotInTimeWindows)")

    def forget(self) -> None:
        """The device may be another one, or have started anew without counting it."""
        self._engine = b""
        self._sign: Callable[[bytes], bytes] | None = None
        self._cipher: Cipher | None = None

    def _discover(self, link: Link) -> None:
        """Learn who the device is: it reports that to a question for nobody (RFC 3414, 4)."""
        reply = self._send(link, Question(()), 0, "the device may not speak version 3, or not with us")
        engine = reply.header.engine
        if not 5 <= len(engine) <= 32:
            raise link.wrong("does not tell its engine id")
        self._engine = engine
        if self._user.authenticates:
            self._sign = self._user.signer(engine)
        if self._user.encrypts:
            self._cipher = self._user.cipher(engine)

    def _exchange(self, link: Link, question: Question) -> _Reply:
        silent = "it said who it is, but not more"
        if self._user.encrypts:
            silent += ": devices that cannot decrypt a question may be silent; is 'priv' right, and 'priv_protocol'?"
        return self._send(link, question, self._level, silent)

    def _send(self, link: Link, question: Question, level: int, silence: str) -> _Reply:
        message_id = randbits(31)

        def accept(datagram: bytes) -> _Reply | None:
            return self._read(datagram, message_id, level)

        reply = link.ask(self._message(question, message_id, level), accept, silence)
        self._boots, self._time_s, self._since = reply.header.boots, reply.header.time_s, monotonic()
        return reply

    def _message(self, question: Question, message_id: int, level: int) -> bytes:
        engine, user = (self._engine, self._user.name) if self._engine else (b"", b"")
        boots, time_s = (self._boots, self._time_now_s()) if self._engine else (0, 0)
        scoped = ScopedPDU()
        scoped[0], scoped[1] = engine, b""
        scoped[2][choice(question)] = pdu_of(question, message_id)
        message, salt = SNMPv3Message(), b""
        header = message.setComponentByPosition(1)[1]
        header[0], header[1], header[2], header[3] = message_id, MOST_BYTES, bytes((level | _REPORTABLE,)), _USM
        if level & _PRIV and self._cipher is not None:
            text, salt = self._cipher.encrypt(encoder.encode(scoped), boots, time_s)
            message.setComponentByPosition(3)[3]["encryptedPDU"] = text
        else:
            message.setComponentByPosition(3)[3]["plaintext"] = scoped
        sign = self._sign if level & _AUTH else None
        digest = bytes(self._user.digest_bytes) if sign is not None else b""
        parameters = _parameters(engine, boots, time_s, user, digest, salt)
        message[0], message[2] = _VERSION, parameters
        whole: bytes = encoder.encode(message)
        if sign is None:
            return whole
        end = whole.index(parameters) + len(parameters) - 2 - len(salt)  # the zeros end where the salt's field begins
        return whole[: end - len(digest)] + sign(whole) + whole[end:]

    def _time_now_s(self) -> int:
        return min(self._time_s + int(monotonic() - self._since), _LARGEST)

    def _read(self, datagram: bytes, message_id: int, level: int) -> _Reply | None:
        """The reply, if it is one to our message, and as safe as that was unless it is a report."""
        message, _ = decoder.decode(datagram, asn1Spec=_MESSAGE)
        if int(message[0]) != _VERSION or int(message[1][0]) != message_id:
            return None
        raw = bytes(message[2])
        parameters, _ = decoder.decode(raw, asn1Spec=_PARAMETERS)
        header = _Header(bytes(parameters[0]), int(parameters[1]), int(parameters[2]), bytes(message[1][2])[0])
        if not (0 <= header.boots <= _LARGEST and 0 <= header.time_s <= _LARGEST):
            return None
        if header.flags & _AUTH and not self._is_authentic(datagram, raw, bytes(parameters[4])):
            return None
        scoped = self._opened(message[3], header, bytes(parameters[5]))
        answer = answer_of(scoped[2])
        safe = header.flags & level == level and header.engine == self._engine and answer.request_id == message_id
        return _Reply(header, answer) if answer.report or safe else None

    def _opened(self, data: Any, header: _Header, salt: bytes) -> Any:
        """The answer in plain text. Raises ValueError, and whatever comes of nonsense."""
        if not header.flags & _PRIV:
            return data["plaintext"]
        if self._cipher is None:
            raise ValueError("encrypted, and nobody has asked for that")
        plain = self._cipher.decrypt(bytes(data["encryptedPDU"]), header.boots, header.time_s, salt)
        return decoder.decode(plain, asn1Spec=_SCOPED)[0]

    def _is_authentic(self, datagram: bytes, parameters: bytes, digest: bytes) -> bool:
        """Whether the digest is that of the message with zeros in place of it."""
        if self._sign is None or len(digest) != self._user.digest_bytes:
            return False
        begin = datagram.index(parameters) + parameters.rindex(digest)  # only a shorter field may follow it
        blank = datagram[:begin] + bytes(len(digest)) + datagram[begin + len(digest) :]
        return hmac.compare_digest(self._sign(blank), digest)


def _parameters(engine: bytes, boots: int, time_s: int, user: bytes, digest: bytes, salt: bytes) -> bytes:
    parameters = UsmSecurityParameters()
    for place, value in enumerate((engine, boots, time_s, user, digest, salt)):
        parameters[place] = value
    encoded: bytes = encoder.encode(parameters)
    return encoded


def _cause(report: Answer) -> int:
    """The number of the counter that it shows, among those of the user-based security model; 0 for any other."""
    oid = report.bindings[0].oid if report.bindings else ()
    return oid[len(_STATS)] if oid[: len(_STATS)] == _STATS and len(oid) > len(_STATS) else 0


def _told(report: Answer, cause: int) -> str:
    counter = ".".join(map(str, report.bindings[0].oid)) if report.bindings else "nothing"
    return _REPORTS.get(cause, f"cannot take the question, and reports {counter}")
