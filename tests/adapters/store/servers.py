"""Private PostgreSQL and MariaDB servers for the tests: own directory, unix socket or loopback, ended by process."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, exc, text

_START_S = 60


def need(program: str | None, what: str) -> Path:
    """The program, or no test of it here; where CI is set that is a failure."""
    if program is not None:
        return Path(program)
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not installed, and CI must not go without it")
    # on a developer's machine that `make setup` could not bring it to; setup installs it on Debian and Ubuntu
    pytest.skip(f"{what} is not installed")


def _find_postgres() -> str | None:
    found = shutil.which("postgres")
    if found is None:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
        found = str(versions[-1]) if versions else None
    return found


@contextmanager
def _directory(owner: str | None) -> Iterator[Path]:
    """A directory with a short path, since unix sockets lie in it."""
    path = Path(tempfile.mkdtemp(prefix="pwdb", dir="/tmp"))
    try:
        if owner is not None:
            account = pwd.getpwnam(owner)
            os.chown(path, account.pw_uid, account.pw_gid)
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def _running(argv: Sequence[str], url: str, log: Path, user: str | None) -> Iterator[str]:
    with log.open("wb") as sink:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, user=user, group=user)
    try:
        _await_answer(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    engine = create_engine(url)
    end = time.monotonic() + _START_S
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            engine.dispose()
            return
        except exc.OperationalError as error:
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the database server does not answer: {error}\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a private PostgreSQL server, which runs as a user other than root."""
    server = need(_find_postgres(), "PostgreSQL's server")
    user = "postgres" if os.geteuid() == 0 else None
    with _directory(user) as home:
        data = home / "data"
        subprocess.run(
            [server.with_name("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=home,
            user=user,
            group=user,
        )
        argv = [str(server), "-D", str(data), "-k", str(home), "-c", "listen_addresses=", "-F"]
        url = f"postgresql+psycopg://postgres@/postgres?host={home}"
        with _running(argv, url, home / "log", user) as ready:
            yield ready


@contextmanager
def mariadb() -> Iterator[str]:
    """The URL of a private MariaDB server on loopback."""
    server = need(shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin"), "MariaDB's server")
    installer = need(shutil.which("mariadb-install-db"), "mariadb-install-db")
    user = pwd.getpwuid(os.geteuid()).pw_name
    with _directory(None) as home:
        data = home / "data"
        subprocess.run(
            [
                str(installer), "--no-defaults", f"--datadir={data}", f"--user={user}",
                "--auth-root-authentication-method=normal", "--skip-test-db",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        port = _free_port()
        argv = [
            str(server), "--no-defaults", f"--datadir={data}", f"--socket={home / 'sock'}", f"--port={port}",
            "--bind-address=127.0.0.1", f"--user={user}", f"--pid-file={home / 'pid'}", "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M",
        ]  # fmt: skip
        with _running(argv, f"mariadb+pymysql://root@127.0.0.1:{port}/mysql", home / "log", None) as ready:
            yield ready


@contextmanager
def fresh_database(server_url: str, name: str) -> Iterator[str]:
    """The URL of an empty database on the server; dropped afterwards."""
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    force = " WITH (FORCE)" if engine.dialect.name == "postgresql" else ""
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield engine.url.set(database=name).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}{force}"))
    finally:
        engine.dispose()
