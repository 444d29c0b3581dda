"""scripts/install-deps on machines that lack something: it says what, and what to write instead.

That it installs what is missing is seen on a fresh Debian only: scripts/fresh-debian.
"""

import os
import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "install-deps"


def run(path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bash = shutil.which("bash")
    assert bash
    return subprocess.run(
        [bash, SCRIPT], env={"PATH": path} | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_python_that_was_named_and_is_not_there_is_told() -> None:
    result = run(os.environ["PATH"], PYTHON="python9")
    assert result.returncode == 1
    assert "there is no python9 here; name a Python 3.11 or later: make PYTHON=" in result.stderr


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = run(f"{tmp_path}:{os.environ['PATH']}")
    assert result.returncode == 1
    assert "python3 is too old; name a Python 3.11 or later: make PYTHON=" in result.stderr


def test_where_there_is_no_apt_it_names_what_is_missing_python_too(tmp_path: Path) -> None:
    result = run(str(tmp_path))
    assert result.returncode == 1
    told = result.stderr.splitlines()[0]
    assert "neither Debian nor Ubuntu; install yourself: " in told
    assert "sbatch" in told
    assert "Python 3.11 or later with its venv module" in told
