"""GET over HTTP with bounds on time and size, whatever the other side does."""

import json
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import requests
import urllib3

from slurm_power.adapters.telemetry.credentials import read_credentials
from slurm_power.core.errors import TelemetryError

MOST_BYTES = 4 << 20
"""The longest answer that is read: ten thousand nodes from Prometheus take a third of it."""
_PIECE = 1 << 16
_KEYS = ("user", "password", "token")


class Web:
    """One server. Keeps its connection; follows no redirects, for they would carry the credentials elsewhere."""

    def __init__(self, url: str, timeout_s: float, credentials: str | None = None, verify: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._credentials = Path(credentials) if credentials is not None else None
        self._session = requests.Session()
        self._session.trust_env = False  # neither proxies nor .netrc of whoever starts the daemon
        self._session.verify = verify if verify is not None else True

    def json(self, path: str = "", query: Mapping[str, str] | None = None) -> Any:
        """What it answers, read as JSON. Raises TelemetryError."""
        text = self.get(path, query)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise TelemetryError(f"{self._url}{path}: the answer is no JSON") from None

    def get(self, path: str = "", query: Mapping[str, str] | None = None) -> bytes:
        """The body of a good answer. Raises TelemetryError."""
        place, until = f"{self._url}{path}", monotonic() + self._timeout_s
        self._sign()
        try:
            with self._session.get(
                place, params=query, stream=True, timeout=self._timeout_s, allow_redirects=False
            ) as answer:
                if answer.status_code != requests.codes.ok:
                    raise TelemetryError(f"{place}: answers {answer.status_code} {answer.reason}")
                return self._body(place, answer, until)
        except requests.exceptions.SSLError as error:
            raise TelemetryError(f"{place}: TLS: {_cause(error)}") from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise TelemetryError(f"{place}: no answer within {self._timeout_s:g} s") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise TelemetryError(f"{place}: cannot be reached: {_cause(error)}") from None

    def close(self) -> None:
        """No more questions."""
        self._session.close()

    def _body(self, place: str, answer: requests.Response, until: float) -> bytes:
        found = bytearray()
        while piece := answer.raw.read1(_PIECE, decode_content=True):  # what has come, and does not wait for the rest
            found += piece
            if len(found) > MOST_BYTES:
                raise TelemetryError(f"{place}: the answer is longer than {MOST_BYTES} bytes")
            if monotonic() > until:
                raise TelemetryError(f"{place}: no whole answer within {self._timeout_s:g} s")
        return bytes(found)

    def _sign(self) -> None:
        """With the credentials as the file has them now: they are changed without a restart."""
        if self._credentials is None:
            return
        known = read_credentials(self._credentials, _KEYS)
        if "token" in known:
            self._session.headers["Authorization"] = f"Bearer {known['token']}"
        else:
            self._session.auth = (known.get("user", ""), known.get("password", ""))


def _cause(error: BaseException) -> str:
    """The innermost reason, which is what tells something."""
    while isinstance(error.__context__, BaseException) and not isinstance(error, OSError):
        error = error.__context__
    return str(error)[:200]
