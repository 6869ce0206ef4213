"""A run whose stack cannot be had ends before its first test, with one error, however many tests and workers there are."""

from __future__ import annotations

import os

import pytest

from dm_compose.errors import NotFoundError
from tests.support.capabilities import needs_compose

TESTS = """
    import pathlib, pytest

    @pytest.mark.parametrize("n", range(9))
    def test_it(dm_stack, n): ...

    def test_needs_no_stack(): pathlib.Path("ran").write_text("")
"""


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DM_") or name == "PYTEST_ADDOPTS":
            monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")


@needs_compose
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("file", "told"), [("compose.yaml", "*no Docker Engine answers at *"), ("none.yaml", "*none.yaml*")])
def test_one_error_ends_the_run(pytester: pytest.Pytester, file: str, told: str, workers: int) -> None:
    (pytester.path / "compose.yaml").write_text("services: {cache: {image: redis}}")
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("-p", "no:randomly", "-n", str(workers), f"--dm-file={file}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: dm: {told}"])
    assert done.stderr.str().count("dm: ") == 1
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    assert "no tests ran" in done.stdout.str()
    assert not (pytester.path / "ran").exists()


@needs_compose
def test_nothing_is_looked_for_where_tests_are_only_collected_or_do_not_ask(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    assert pytester.runpytest_subprocess("--collect-only", "--dm-file=none.yaml").ret == pytest.ExitCode.OK
    done = pytester.runpytest_subprocess("-k", "needs_no_stack", "--dm-file=none.yaml")
    done.assert_outcomes(passed=1, deselected=9)
    assert "dm:" not in done.stdout.str()


def test_an_error_shows_its_hint_wherever_it_is_printed() -> None:
    assert str(NotFoundError("no such thing", hint="There are others.")) == "no such thing\nhint: There are others."
    assert str(NotFoundError("no such thing")) == "no such thing"
