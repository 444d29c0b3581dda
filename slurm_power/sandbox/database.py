"""MariaDB and slurmdbd, with tables of their own and a password that only this sandbox knows."""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from slurm_power.sandbox import users
from slurm_power.sandbox.failure import SandboxError
from slurm_power.sandbox.layout import Layout, write_file
from slurm_power.sandbox.parts import Part
from slurm_power.sandbox.tools import Tools, program, run

DATABASE = "slurm_acct_db"


@dataclass(frozen=True, slots=True)
class Database:
    """Where the accounting database listens, and its password."""

    layout: Layout
    env: Mapping[str, str]
    sql_port: int
    dbd_port: int
    password: str

    def mariadbd(self) -> Part:
        """Make the tables (a second or two), and say how MariaDB is started."""
        layout = self.layout
        owner = users.me()
        own = (f"--datadir={layout.data}", f"--user={owner}")
        # root's own account works through the unix socket alone; the grant tables hold no other
        # and --force: it would not go on where the machine's own name does not resolve
        install = ("--no-defaults", *own, "--force", "--auth-root-authentication-method=socket")
        argv = (program("mariadb-install-db"), *install, f"--auth-root-socket-user={owner}", "--skip-test-db")
        try:
            run(argv, self.env)
        except SandboxError:
            # seen once on a busy machine: "Unknown table 'mysql.tmp_user_sys'"; the second try starts from nothing
            shutil.rmtree(layout.data)
            layout.data.mkdir(mode=0o700)
            run(argv, self.env)
        first = layout.munge_key.parent / "mariadb.sql"
        write_file(first, self._grants(), 0o600)
        log = str(layout.log / "mariadbd.log")
        serve = (
            program("mariadbd"),
            "--no-defaults",
            *own,
            f"--init-file={first}",
            f"--socket={layout.run / 'mariadb.sock'}",
            f"--pid-file={layout.run / 'mariadb.pid'}",
            f"--port={self.sql_port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-lock-wait-timeout=900",  # slurmdbd complains of less
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",  # the tables do not outlive the sandbox
            "--performance-schema=OFF",
        )
        return Part("mariadbd", serve, log, log, self.env, str(layout.run), port=self.sql_port)

    def slurmdbd(self, tools: Tools) -> Part:
        """Write slurmdbd.conf, and say how slurmdbd is started."""
        layout = self.layout
        write_file(layout.etc / "slurmdbd.conf", self._slurmdbd_conf(), 0o600)
        log = layout.log / "slurmdbd.log"
        return Part(
            "slurmdbd",
            tools.argv("slurmdbd", "-D"),
            str(log),
            str(log.with_suffix(".out")),
            {**self.env, "SLURM_CONF": str(layout.slurm_conf)},
            str(layout.run),
            port=self.dbd_port,
        )

    def _grants(self) -> str:
        return (
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            f"CREATE OR REPLACE USER slurm@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON {DATABASE}.* TO slurm@'127.0.0.1';\n"
        )

    def _slurmdbd_conf(self) -> str:
        layout = self.layout
        settings = {
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={layout.munge_socket}",
            "DbdHost": "localhost",
            "DbdAddr": "127.0.0.1",
            "DbdPort": self.dbd_port,
            "SlurmUser": users.me(),
            "LogFile": layout.log / "slurmdbd.log",
            "PidFile": layout.run / "slurmdbd.pid",
            "StorageType": "accounting_storage/mysql",
            "StorageHost": "127.0.0.1",
            "StoragePort": self.sql_port,
            "StorageUser": "slurm",
            "StoragePass": self.password,
            "StorageLoc": DATABASE,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())


def new_password() -> str:
    """A password without characters that need quoting."""
    return secrets.token_hex(16)
