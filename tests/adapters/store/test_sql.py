"""Opening a database: migrations, several processes at once, and everything that may be wrong with it."""

import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event, func, inspect, make_url, select, text

from slurm_power.adapters.store import SqlStore, StoreDataError, migrate, open_store, schema
from slurm_power.adapters.store.engine import make_engine, place_of
from slurm_power.adapters.store.migrate import upgrade
from slurm_power.core.errors import StoreError
from slurm_power.ports import HoldKind, Wanted
from tests.adapters.store.other_user import NOBODY, as_user
from tests.adapters.store.samples import intent, job, learnt, line

ASSETS = Path(__file__).parents[2] / "assets" / "store"
_OPEN = """
import sys
from slurm_power.adapters.store import open_store
from slurm_power.core.errors import StoreError
try:
    store = open_store(sys.argv[1], busy_s=float(sys.argv[2]))
    store.set_setting("opened", "yes")
    store.close()
except StoreError as error:
    sys.exit(str(error))
"""


def _open_elsewhere(url: str) -> "subprocess.Popen[str]":
    """Open and write the database in another process."""
    return subprocess.Popen([sys.executable, "-c", _OPEN, url, "30"], stderr=subprocess.PIPE, text=True)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that others may enter and not write; pytest's own are closed to them."""
    with TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


_CRASH = """
import os, signal, sys
from slurm_power.adapters.store import open_store
from slurm_power.ports import Intent
store = open_store(sys.argv[1])
store.open_intents([Intent("812", "requeuehold", 1), Intent("813", "hold", 2)])
store.close_intents([1], "done")
os.kill(os.getpid(), signal.SIGKILL)
"""


def _sqlite(path: Path) -> str:
    return f"sqlite:///{path}"


def test_what_was_stored_is_there_after_reopening(url: str) -> None:
    first = open_store(url)
    first.save_jobs([job("a")])
    first.record([line(1)])
    opened = first.open_intents([intent("812")])
    first.set_setting("mode", "observe")
    first.close()
    second = open_store(url)
    assert list(second.jobs()) == [job("a")]
    assert list(second.decisions()) == [line(1)]
    assert list(second.pending_intents()) == list(opened)
    assert second.setting("mode") == "observe"
    second.close()


def test_intents_survive_a_crash(url: str) -> None:
    crashed = subprocess.run([sys.executable, "-c", _CRASH, url], check=False)
    assert crashed.returncode == -signal.SIGKILL
    store = open_store(url)
    assert [(each.target, each.action) for each in store.pending_intents()] == [("813", "hold")]
    store.close()


def test_migrations_lead_to_the_schema_of_the_code(url: str) -> None:
    open_store(url).close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()


def test_watts_end_in_w_and_nothing_else_does() -> None:
    names = {column.name for table in schema.metadata.sorted_tables for column in table.columns}
    assert {name for name in names if "w" in name.split("_")} == {"est_w", "max_w", "headroom_w"}


def test_processes_that_open_at_once_all_succeed(url: str) -> None:
    processes = [_open_elsewhere(url) for _ in range(4)]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0)] * 4
    store = open_store(url)
    assert store.setting("opened") == "yes"
    store.close()


def test_threads_write_at_once(url: str) -> None:
    first, second = open_store(url), open_store(url)

    def work(store: SqlStore, name: str) -> None:
        for number in range(20):
            store.save_jobs([job("shared", job_id=number), job(f"{name}-{number}")])
            store.record([line(number, job_id=name)])

    threads = [threading.Thread(target=work, args=pair) for pair in ((first, "a"), (second, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(first.jobs()) == 41
    assert len(second.decisions()) == 40
    first.close()
    second.close()


def test_a_database_newer_than_the_code_is_refused(url: str) -> None:
    open_store(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"schema 9999, which is newer than this version .*0006.*install"):
        open_store(url)


def test_a_migration_that_was_cut_short_is_completed(url: str) -> None:
    # MariaDB commits each table by itself, so a crash may leave the first ones without a version.
    engine = create_engine(url)
    schema.jobs.create(engine)
    engine.dispose()
    store = open_store(url)
    store.save_jobs([job("a")])
    store.record([line(1)])
    assert ([one.token for one in store.jobs()], len(store.decisions())) == (["a"], 1)
    store.close()


def test_upgrade_twice_changes_nothing(url: str) -> None:
    engine = make_engine(url, busy_s=5)
    upgrade(engine, url)
    before = shape(engine)
    upgrade(engine, url)
    assert shape(engine) == before
    engine.dispose()


def shape(engine: Engine) -> dict[str, object]:
    """Every table with its columns and indexes, and the schema's version."""
    found = inspect(engine)
    with engine.connect() as connection:
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    tables = {
        name: (
            sorted(column["name"] for column in found.get_columns(name)),
            sorted(str(index["name"]) for index in found.get_indexes(name)),
        )
        for name in found.get_table_names()
    }
    assert "jobs" in tables
    return {**tables, "version": version}


_OLD_LINE = """
INSERT INTO decisions (at, job, token, uid, account, action, mode, zones, reasons)
VALUES (1, '812', 'Zk3', 1000, 'research', 'admit', 'enforce', '["rack01","rack02"]', '[{"code":"gate"}]')
"""


def test_a_database_of_the_first_schema_is_brought_up_with_what_is_in_it(url: str) -> None:
    engine = make_engine(url, busy_s=5)
    upgrade(engine, url, "0001")
    with engine.begin() as connection:
        connection.exec_driver_sql(_OLD_LINE)
    engine.dispose()
    store = open_store(url)
    old = replace(line(1), reasons=({"code": "gate"},))
    assert list(store.decisions(zone="rack02", account="research", job="812")) == [old]
    store.record([line(2)])
    assert list(store.decisions()) == [old, line(2)]
    store.close()


def test_a_stored_database_of_the_first_schema_keeps_every_row(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    kept = sqlite3.connect(path)
    kept.executescript((ASSETS / "sqlite-0001.sql").read_text())
    kept.close()
    store = open_store(_sqlite(path))
    hold, release, admit = store.decisions()
    assert (hold.reasons[0]["short_w"], hold.job, hold.zones) == (11_000, "Zk3", ())
    assert (release.job, release.zones, release.action) == ("812", ("rack01", "rack02"), "release")
    assert [(each.reservation, each.actor, each.cause, each.rule, each.numbers) for each in (hold, release, admit)] == [
        ("", None, "", "", {})
    ] * 3
    assert list(store.decisions(job="812")) == [hold, release]
    assert list(store.decisions(job="813")) == list(store.decisions(uid=1_001)) == [admit]
    assert list(store.decisions(zone="rack01")) == [hold, release]
    assert list(store.decisions(zone="rack02")) == [release, admit]
    assert [(each.token, each.job_id, each.hold) for each in store.jobs()] == [
        ("Zk3", 812, HoldKind.POWER), ("tok2", None, None),
    ]  # fmt: skip
    assert [(each.id, each.target, each.detail) for each in store.pending_intents()] == [(2, "813", {"keys": ["tok2"]})]
    assert '"advise"' in (store.setting("mode") or "")
    assert store.prune(decisions=1_800_000_200, intents=1_800_000_200, limit=10) == 2
    assert list(store.decisions()) == [admit]
    store.close()


def test_a_step_cut_short_within_the_third_migration_is_completed(url: str) -> None:
    # MariaDB commits each column by itself.
    engine = make_engine(url, busy_s=5)
    upgrade(engine, url, "0002")
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE decisions ADD COLUMN actor BIGINT")
        schema.usage.create(connection)
    engine.dispose()
    store = open_store(url)
    store.record([line(1)])
    assert list(store.decisions()) == [line(1)]
    store.close()


@pytest.mark.parametrize("index", [True, False])
def test_a_step_cut_short_within_the_fifth_migration_is_completed(url: str, index: bool) -> None:
    engine = make_engine(url, busy_s=5)
    upgrade(engine, url, "0004")
    with engine.begin() as connection:
        schema.profiles.create(connection)
        if not index:
            next(iter(schema.profiles.indexes)).drop(connection)
    engine.dispose()
    store = open_store(url)
    store.save_profiles([learnt(1)])
    assert list(store.profiles(10)) == [learnt(1)]
    store.close()
    test_migrations_lead_to_the_schema_of_the_code(url)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "at"),
        ({"job": "812"}, "name"),
        ({"job": "812_3"}, "name"),
        ({"account": "research"}, "account"),
        ({"uid": 1_000, "since": 5}, "uid"),
        ({"actions": ["mode"]}, "action"),
        ({"reservation": "nightly"}, "reservation"),
        ({"zone": "rack01", "since": 5, "until": 9}, "at"),
    ],
)
def test_no_question_reads_the_whole_audit_log(tmp_path: Path, wanted: Wanted, index: str) -> None:
    store = open_store(_sqlite(tmp_path / "state.db"))
    store.record([line(1), line(2, "812_3")])
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(store._readers, "before_cursor_execute", note)
    store.decisions(**wanted)
    with sqlite3.connect(tmp_path / "state.db") as other:
        plans = [[row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {text}", given)] for text, given in asked]
    assert plans
    for plan in plans:
        steps = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
        assert any(f"INDEX ix_decisions_{index} " in f"{step} " for step in steps), plan
        assert all(" INDEX " in step for step in steps), plan
    store.close()


def test_a_closed_intent_keeps_its_first_result(url: str) -> None:
    store = open_store(url)
    opened = [each.id for each in store.open_intents([intent("1"), intent("2")])]
    store.close_intents([each for each in opened[:1] if each], "done")
    store.close_intents([each for each in opened if each], "given up")
    store.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        results = connection.scalars(select(schema.intents.c.result).order_by(schema.intents.c.id)).all()
    engine.dispose()
    assert results == ["done", "given up"]


def test_a_schema_that_another_process_is_changing(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_LOCK_WAIT_S", 0)
    impatient = make_url(server_url)
    other = create_engine(server_url)
    with other.connect() as connection:
        if other.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_lock(migrate._LOCK_KEY)))
            impatient = impatient.update_query_dict({"options": "-c statement_timeout=50"})
        else:
            connection.execute(select(func.get_lock(migrate._LOCK_NAME, 0)))
        with pytest.raises(StoreError, match=r"another process has been changing the schema|statement timeout"):
            open_store(impatient.render_as_string(hide_password=False))
    other.dispose()
    open_store(server_url).close()


def test_rows_out_of_range_are_the_datas_fault(url: str) -> None:
    store = open_store(url)
    with pytest.raises(StoreDataError):
        store.save_jobs([job("a"), job("b", est_w=1 << 70)])
    assert list(store.jobs()) == []
    store.close()


def test_a_server_that_lost_the_connection_is_reached_again(server_url: str) -> None:
    store = open_store(server_url)
    store.save_jobs([job("a")])
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        if admin.dialect.name == "postgresql":
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        else:
            rows = connection.execute(text("SHOW PROCESSLIST")).mappings().all()
            own = connection.scalar(text("SELECT CONNECTION_ID()"))
            for row in rows:
                if row["db"] == make_url(server_url).database and row["Id"] != own:
                    connection.execute(text(f"KILL {row['Id']}"))
    admin.dispose()
    assert [each.token for each in store.jobs()] == ["a"]
    store.close()


def test_sqlite_keeps_its_promises(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "state.db"
    engine = make_engine(_sqlite(path), busy_s=5)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    engine.dispose()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sqlite_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = open_store(_sqlite(path), busy_s=0)
    store.save_jobs([job("a")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert [each.token for each in store.jobs()] == ["a"]
    with pytest.raises(StoreError, match=r"database is locked .*another process"):
        store.save_jobs([job("b")])
    other.execute("ROLLBACK")
    store.save_jobs([job("b")])
    assert len(store.jobs()) == 2
    other.close()
    store.close()


def test_a_locked_database_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    open_store(_sqlite(path)).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="cannot open the state database: database is locked"):
        open_store(_sqlite(path), busy_s=0)
    other.close()


@pytest.mark.parametrize("content", [b"this is no database, and long enough to show\n" * 40, b"SQLite format 3\x00"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content + b"\xff" * 4096)
    with pytest.raises(StoreError, match=r"state\.db.*(no SQLite database|damaged)"):
        open_store(_sqlite(path))


def test_a_directory_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Is a directory"):
        open_store(_sqlite(tmp_path))


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the directory of the state database"):
        open_store(_sqlite(tmp_path / "file" / "state.db"))


@pytest.mark.parametrize("what", ["directory", "parent", "file"])
def test_a_path_that_may_not_be_written(open_directory: Path, what: str) -> None:
    path = open_directory / "sub" / "state.db" if what == "parent" else open_directory / "state.db"
    if what == "file":
        open_store(_sqlite(path)).close()

    def try_it() -> str:
        try:
            open_store(_sqlite(path))
        except StoreError as error:
            return str(error)
        return "opened"

    told = as_user(NOBODY, try_it)
    assert told.startswith(str(path.parent if what == "parent" else path))
    assert "Permission denied" in told


def test_a_file_that_may_be_read_only(open_directory: Path) -> None:
    path = open_directory / "state.db"
    open_store(_sqlite(path)).close()
    path.chmod(0o644)

    def try_it() -> str:
        try:
            open_store(_sqlite(path))
        except StoreError as error:
            return str(error)
        return "opened"

    assert "Permission denied" in as_user(NOBODY, try_it)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "state.db",
        "oracle://scott:tiger@host/x",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+nosuch://u:tiger@h/d",
        "postgresql://u:tiger@h:port/d",
    ],
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(StoreError, match=r"sqlite:////var/lib/slurm_power/state\.db") as caught:
        open_store(url)
    assert "tiger" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("postgresql://u:secret@127.0.0.1/d", "psycopg", "postgresql"),
        ("mariadb://u:secret@127.0.0.1/d", "pymysql", "mariadb"),
        ("mysql://u:secret@127.0.0.1/d", "pymysql", "mariadb"),
    ],
)
def test_a_missing_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StoreError, match=rf"pip install 'slurm-power\[{extra}\]'") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_a_server_that_is_not_there(scheme: str) -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1.*cannot open the state database") as caught:
        open_store(f"{scheme}://u:secret@127.0.0.1:1/d")
    assert "secret" not in str(caught.value)


def test_messages_hide_the_password() -> None:
    assert place_of("postgresql://u:secret@h/d") == "postgresql+psycopg://u:***@h/d"


def test_migrations_travel_with_the_package() -> None:
    # Setuptools takes along what lies in packages, and every directory here must be one.
    home = resources.files("slurm_power.adapters.store.migrations")
    assert (home / "env.py").is_file()
    assert (home / "script.py.mako").is_file()
    assert (home / "versions" / "__init__.py").is_file()
    assert any(entry.name.startswith("r0001") for entry in (home / "versions").iterdir())
