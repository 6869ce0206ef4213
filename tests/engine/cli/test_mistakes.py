"""Mistakes that only an engine shows: each is told in one line with a hint, and nothing is changed by it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dm_compose.errors import NotFoundError, StoreError, UncommittedError, UsageError
from tests.support.projects import TestProject

pytestmark = pytest.mark.engine
NOT_FOUND, STORE, USAGE, UNCOMMITTED = (cls.exit_code for cls in (NotFoundError, StoreError, UsageError, UncommittedError))


def told(project: TestProject, code: int, message: str, hint: str, *words: str, **variables: str) -> None:
    done = project.dm(*words, check=False, **variables)
    assert (done.returncode, done.stdout) == (code, ""), done
    error, _, hints = done.stderr.partition("\nhint: ")
    assert error.startswith(f"error: {message}")
    assert "\n" not in error.rstrip()
    assert hint in hints


def volumes(project: TestProject) -> set[str]:
    """Return the volumes that these mistakes could have made: the project's own, and one for a mistaken DM_HOME."""
    done = subprocess.run(["docker", "volume", "ls", "-q"], capture_output=True, text=True, timeout=60, check=True)
    return {name for name in done.stdout.split() if name == "newstore" or name.startswith(project.name)}


def test_mistakes_are_told_and_change_nothing(cache_only: TestProject, tmp_path: Path) -> None:
    cache_only.dm("remote", "add", "hub", str(tmp_path / "hub"))
    cache_only.redis().set("note", "mine")
    before = cache_only.json("log"), cache_only.json("reflog"), cache_only.json("branch"), cache_only.started_at("cache")
    there = volumes(cache_only)
    dot = cache_only.json("status")["dot"]
    for code, message, hint, *words in (
        (USAGE, "'stauts' is no verb of dm-compose or Compose", "Did you mean 'status'?", "stauts"),
        (NOT_FOUND, f"dot {dot} has no branch, tag or commit 'mastre'", "Did you mean 'master'?", "reset", "--hard", "mastre"),
        (NOT_FOUND, f"dot {dot} has no branch or tag 'abc'", "at least 4 digits", "reset", "--hard", "abc"),
        (NOT_FOUND, f"dot {dot} has no branch, tag or commit 'nope'", "`checkout -b nope` makes a branch", "checkout", "nope"),
        (NOT_FOUND, "no remote hubb (there are: hub), and no such service", "Did you mean 'hub'?", "push", "hubb"),
        (NOT_FOUND, "no remote cahce (there are: hub), and no such service", "Did you mean 'cache'?", "pull", "cahce"),
        (UNCOMMITTED, "there are uncommitted changes in ", "--hard", "reset"),
    ):
        told(cache_only, code, message, hint, *words)
    (tmp_path / "file").write_text("kept")
    for home, code, message, hint in (
        ("newstore", NOT_FOUND, "DM_HOME=newstore names a volume that does not exist", "write DM_HOME=./newstore"),
        (str(tmp_path / "file"), STORE, f"the store cannot be at {tmp_path / 'file'}", "Set DM_HOME"),
        ("/proc/dm-compose", STORE, "opening the store at /proc/dm-compose", ""),
    ):
        for words in (("status",), ("commit", "-m", "x")):
            told(cache_only, code, message, hint, *words, DM_HOME=home)
    assert (tmp_path / "file").read_text() == "kept"
    assert volumes(cache_only) == there
    assert cache_only.redis().get("note") == "mine"
    assert before == (
        cache_only.json("log"),
        cache_only.json("reflog"),
        cache_only.json("branch"),
        cache_only.started_at("cache"),
    )


def test_a_verb_that_only_compose_has_is_handed_on_though_it_is_in_no_list(cache_only: TestProject) -> None:
    done = cache_only.dm("bridge", "transformations", "ls", check=False)
    assert "is no verb" not in done.stderr
