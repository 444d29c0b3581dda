"""job_submit.lua as a site has it: whatever is broken, no job slips in and none is lost."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from slurm_power.core.record import Standing, find_record
from tests.lua.support import LUA_DIR, FakeDaemon, Hook, Result, lua_literal, reply

NO_VAL, INFINITE = 4294967294, 4294967295
JOB: dict[str, object] = {"user_id": 1000, "script": "#!/bin/sh", "priority": NO_VAL}
RELEASE: dict[str, object] = {"user_id": 1000, "priority": INFINITE}


class Site:
    """A directory with the site's files, as beside slurm.conf."""

    def __init__(self, directory: Path, socket: Path) -> None:
        self.directory = directory
        self.hook = Hook(directory, socket)
        for name in ("job_submit.lua", "slurm_power.lua", "slurm_power_wire.lua"):
            shutil.copy(LUA_DIR / name, directory)
        settings = {"socket": str(socket), "timeout_ms": 5000, "slurm_uid": 990}
        (directory / "slurm_power_hook.lua").write_text(f"return {lua_literal(settings)}")

    def replace(self, name: str, old: str, new: str) -> None:
        file = self.directory / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def run(self, *calls: Mapping[str, object]) -> list[Result]:
        return self.hook.run(*calls, site=str(self.directory / "job_submit.lua"))

    def submit(self, **fields: object) -> Result:
        return self.run({"job": {**JOB, **fields}, "uid": 1000})[0]

    def modify(self, uid: int = 1000, **fields: object) -> Result:
        return self.run({"job": {**RELEASE, **fields}, "rec": {"job_id": 1}, "uid": uid})[0]


@pytest.fixture
def site(tmp_path: Path, socket_path: Path) -> Site:
    directory = tmp_path / "etc"
    directory.mkdir()
    return Site(directory, socket_path)


def standing(result: Result) -> tuple[int, object, str]:
    record = find_record(result.job["admin_comment"])
    assert record is not None
    assert record.standing is Standing.HOLD
    return result.rc, result.job["priority"], record.hold


def test_it_asks_with_the_settings_beside_it(site: Site, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="admit", set_licenses="pw_rack07:5"), reply(verdict="deny"))
    results = site.run({"job": JOB, "uid": 1000}, {"job": RELEASE, "rec": {"job_id": 1}, "uid": 1000})
    assert results[0].job["licenses"] == "pw_rack07:5"
    assert results[1].rc == 2002
    assert site.modify(uid=990).rc == 0


@pytest.mark.parametrize("name", ["slurm_power.lua", "slurm_power_wire.lua", "slurm_power_hook.lua"])
@pytest.mark.parametrize("content", ["", "syntax error(", "error('broken')", "return 5", "return nil"])
def test_a_broken_part_holds(site: Site, name: str, content: str) -> None:
    (site.directory / name).write_text(content)
    result = site.submit()
    assert standing(result) == (0, 0, "power")
    assert result.told.startswith("held: slurm_power does not answer")
    assert result.log
    assert standing(site.submit(priority=0)) == (0, 0, "both")
    assert site.submit(cron_job=True).rc == -1
    assert site.modify().rc == -1
    assert site.modify(uid=0).rc == 0


def test_missing_settings_hold_until_they_are_there(site: Site, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="reject"))
    (site.directory / "slurm_power_hook.lua").unlink()
    assert standing(site.submit()) == (0, 0, "power")


def test_other_admin_comments_stay_in_the_last_resort(site: Site) -> None:
    (site.directory / "slurm_power_hook.lua").unlink()
    result = site.submit(admin_comment="site note;power:id=me,v=admit,zones=r/1/1/1")
    assert standing(result) == (0, 0, "power")
    assert result.job["admin_comment"].startswith("site note;")
    assert "v=admit" not in result.job["admin_comment"]


def test_a_rule_of_the_site_comes_first(site: Site, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="pass"))
    site.replace(
        "job_submit.lua",
        "local function site_submit(job_desc, part_list, submit_uid) -- luacheck: ignore 212\n  return slurm.SUCCESS",
        "local function site_submit(job_desc)\n  if job_desc.name == 'bad' then return 2000 end\n"
        "  job_desc.partition = 'train'\n  return slurm.SUCCESS",
    )
    assert site.submit(name="bad").rc == 2000
    assert daemon.connections == 0
    assert site.submit().rc == 0
    assert daemon.requests[0]["job"]["partition"] == "train"


@pytest.mark.parametrize("body", ["error('broken')", "return nil", "return 'yes'", "local x = nil; return x.y"])
def test_a_broken_rule_of_the_site_holds(site: Site, daemon: FakeDaemon, body: str) -> None:
    daemon.says(reply(verdict="pass"))
    for head in (
        "local function site_submit(job_desc, part_list, submit_uid) -- luacheck: ignore 212\n  ",
        "local function site_modify(job_desc, job_rec, part_list, modify_uid) -- luacheck: ignore 212\n  ",
    ):
        site.replace("job_submit.lua", head + "return slurm.SUCCESS", head + body)
    assert standing(site.submit()) == (0, 0, "power")
    assert site.modify().rc == -1
    assert site.modify(uid=0).rc == 0


@pytest.mark.parametrize("broken", ["priority", "admin_comment"])
def test_what_cannot_even_be_held_is_refused(site: Site, broken: str) -> None:
    assert site.run({"job": JOB, "uid": 1000, "broken": broken})[0].rc == -1


def test_the_modules_may_be_elsewhere(site: Site, tmp_path: Path, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="reject", message="found"))
    share = tmp_path / "share"
    share.mkdir()
    for name in ("slurm_power.lua", "slurm_power_wire.lua"):
        (site.directory / name).rename(share / name)
    site.replace("job_submit.lua", "/usr/share/slurm_power/lua/", f"{share}/")
    assert site.submit().told == "found"
