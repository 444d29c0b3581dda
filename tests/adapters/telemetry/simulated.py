"""PDUs that speak SNMP, simulated by snmpsim, and a relay that stands before one and misbehaves. Loopback alone.

    with Simulator(folder, {"public": records}, users) as simulator:
        ...                         # asked at simulator.port; every community is a device of its own
    with Relay(silent) as relay:
        ...                         # asked at relay.port
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from slurm_power.sandbox.free_ports import free_ports

Behaviour = Callable[[bytes], Iterable[bytes]]
"""What is sent back for a question."""


class Simulator:
    """snmpsim's responder in a process of its own.

    devices: community → records, `OID|type|value`. `self` is what users of version 3 see. users: options for each.
    """

    def __init__(self, folder: Path, devices: Mapping[str, Sequence[str]], users: Sequence[Sequence[str]] = ()) -> None:
        self.port = free_ports(1)[0]
        self._folder = folder
        self._users = [option for user in users for option in user]
        (folder / "data").mkdir(parents=True)
        for name, records in devices.items():
            (folder / "data" / f"{name}.snmprec").write_text("\n".join(records) + "\n")

    def __enter__(self) -> Self:
        responder = Path(sys.executable).with_name("snmpsim-command-responder")
        argv = [str(responder), "--logging-method=stderr", "--log-level=error", f"--cache-dir={self._folder / 'cache'}"]
        argv += ["--v3-engine-id=auto", f"--data-dir={self._folder / 'data'}", *self._users]
        argv += [f"--agent-udpv4-endpoint=127.0.0.1:{self.port}"]
        # as root it would else have to become somebody else, who cannot read the folder
        env = {**os.environ, "SNMPSIM_ALLOW_ROOT": "true", "HOME": str(self._folder)}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=env)
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def _wait(self) -> None:
        """Until its port is taken."""
        for _ in range(300):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind(("127.0.0.1", self.port))
                except OSError:
                    return
            time.sleep(0.05)
        raise AssertionError((self._folder / "log").read_text())


class Relay:
    """Answers as it is told to. `questions` is what it was asked."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.questions: list[bytes] = []
        self._behaviour = behaviour
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(65_535)
            if not question:
                return
            self.questions.append(question)
            for answer in self._behaviour(question):
                self._socket.sendto(answer, asker)


def silent(question: bytes) -> Iterable[bytes]:
    """Never answers."""
    return ()


def asks(port: int) -> Callable[[bytes], bytes]:
    """What a device answers, to be passed on or spoilt."""

    def ask(question: bytes) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.settimeout(2)
            wire.connect(("127.0.0.1", port))
            wire.send(question)
            return wire.recv(65_535)

    return ask
