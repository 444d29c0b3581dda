"""A user of SNMPv3 and its keys (RFC 3414, 3826, 7860; AES with longer keys: draft-blumenthal-aes-usm-04)."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from secrets import randbits
from typing import Any

from pyasn1.type import univ
from pysnmp.proto.secmod.rfc3414.priv import des
from pysnmp.proto.secmod.rfc3826.priv import aes

from slurm_power.core.errors import TelemetryError

KEYS = ("user", "auth", "auth_protocol", "priv", "priv_protocol")
"""What the file of credentials may say for version 3."""

_HASHES: dict[str, tuple[str, int]] = {
    "md5": ("md5", 12),
    "sha": ("sha1", 12),
    "sha224": ("sha224", 16),
    "sha256": ("sha256", 24),
    "sha384": ("sha384", 32),
    "sha512": ("sha512", 48),
}
"""Protocol → its hash, and how much of that is sent."""
_CIPHERS: dict[str, tuple[type, int, bool]] = {
    "des": (des.Des, 16, False),
    "aes128": (aes.Aes, 16, False),
    "aes192": (aes.Aes, 24, False),
    "aes256": (aes.Aes, 32, False),
    "aes192c": (aes.Aes, 24, True),
    "aes256c": (aes.Aes, 32, True),
}
"""Protocol → its cipher, the bytes of its key, and whether a short key is made longer in Cisco's way."""
_PASSWORD_BYTES = 1 << 20
_SHORTEST, _LONGEST_NAME = 8, 32


class User:
    """Who asks, with keys made of passwords; they are for no device yet. Shows nothing of them."""

    def __init__(self, credentials: Mapping[str, str]) -> None:
        """Raises TelemetryError for what does not go together."""
        self.name = credentials.get("user", "").encode()
        auth, priv = credentials.get("auth"), credentials.get("priv")
        if not 0 < len(self.name) <= _LONGEST_NAME:
            raise TelemetryError(f"SNMPv3 takes 'user: …', a name of up to {_LONGEST_NAME} bytes")
        if priv is not None and auth is None:
            raise TelemetryError("there is 'priv' without 'auth', which SNMP does not know")
        self.authenticates, self.encrypts = auth is not None, priv is not None
        self.digest_bytes = 0
        if auth is not None:
            self._hash, self.digest_bytes = _HASHES[_protocol(credentials, "auth", _HASHES)]
            self._auth = _from_password("auth", auth, self._hash)
        if priv is not None:
            if aes.PysnmpCryptoError:
                raise TelemetryError("'priv' takes the Python package cryptography, 47 or later, and there is none")
            self._cipher, self._key_bytes, self._cisco = _CIPHERS[_protocol(credentials, "priv", _CIPHERS)]
            self._priv = _from_password("priv", priv, self._hash)

    def signer(self, engine: bytes) -> Callable[[bytes], bytes]:
        """What signs messages for this device and from it."""
        key = _localized(self._auth, engine, self._hash)
        return lambda message: hmac.new(key, message, self._hash).digest()[: self.digest_bytes]

    def cipher(self, engine: bytes) -> "Cipher":
        """What encrypts for this device."""
        key = _localized(self._priv, engine, self._hash)
        while len(key) < self._key_bytes:
            if self._cisco:
                key += _localized(_stretched(key, self._hash), engine, self._hash)
            else:
                key += hashlib.new(self._hash, key).digest()
        return Cipher(self._cipher, key[: self._key_bytes])


class Cipher:
    """pysnmp's cipher with a key, and a salt that starts anywhere: its own starts alike wherever it is used."""

    def __init__(self, service: type, key: bytes) -> None:
        self._key = univ.OctetString(key)
        self._service: Any = service()
        self._service.KEY_SIZE = len(key)
        self._service.local_int = randbits(32 if service is des.Des else 64)

    def encrypt(self, plain: bytes, boots: int, time_s: int) -> tuple[bytes, bytes]:
        """The text encrypted, and what the other side needs besides the key."""
        text, salt = self._service.encrypt_data(self._key, (boots, time_s, None), plain)
        return bytes(text), bytes(salt)

    def decrypt(self, text: bytes, boots: int, time_s: int, salt: bytes) -> bytes:
        """The plain text, or whatever comes of a wrong key. Raises pysnmp's errors."""
        parameters = (boots, time_s, univ.OctetString(salt))
        return bytes(self._service.decrypt_data(self._key, parameters, univ.OctetString(text)))


def _protocol(credentials: Mapping[str, str], name: str, known: Mapping[str, object]) -> str:
    told = credentials.get(f"{name}_protocol", "").lower().replace("-", "")
    if told not in known:
        raise TelemetryError(f"'{name}' takes '{name}_protocol', one of {', '.join(known)}")
    return told


def _from_password(name: str, password: str, hashed: str) -> bytes:
    raw = password.encode()
    if len(raw) < _SHORTEST:
        raise TelemetryError(f"'{name}' is shorter than {_SHORTEST} bytes, which SNMP does not take")
    return _stretched(raw, hashed)


def _stretched(raw: bytes, hashed: str) -> bytes:
    """The hash of a million bytes, which are the password again and again (RFC 3414, A.2)."""
    return hashlib.new(hashed, (raw * (_PASSWORD_BYTES // len(raw) + 1))[:_PASSWORD_BYTES]).digest()


def _localized(key: bytes, engine: bytes, hashed: str) -> bytes:
    return hashlib.new(hashed, key + engine + key).digest()
