"""Lines are told when they are told, also those of workers, and a wait is told as soon as it is long."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pytest_dotmesh.telling import LONG_S

CONFTEST = """
    import pytest, time
    from pytest_dotmesh.run import Run

    @pytest.fixture
    def teller(request):
        return Run.of(request.config).teller
"""


@pytest.fixture
def tests(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST)
    return pytester


def test_a_line_of_a_worker_is_printed_when_it_is_told_and_once(tests: pytest.Pytester) -> None:
    """A test waits until the line of the others is in the output of the controller."""
    tests.makepyfile("""
        import pathlib, time, pytest

        def is_printed(text):
            return text in pathlib.Path("out").read_text()

        @pytest.mark.parametrize("n", range(2))
        def test_it(teller, n):
            teller.tell("dm: of all\\nhint: two lines")
            teller.tell(f"dm: of test {n}")
            end = time.monotonic() + 60
            while not all(map(is_printed, ["dm: of test 0", "dm: of test 1", "hint: two lines"])):
                assert time.monotonic() < end
                time.sleep(0.05)
    """)
    with (tests.path / "out").open("w") as out:
        command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-n", "2"]
        ended = subprocess.run(command, cwd=tests.path, stdout=out, check=False).returncode
    printed = (tests.path / "out").read_text()
    assert ended == 0, printed
    assert printed.count("dm: of all\nhint: two lines\n") == 1


def test_lines_that_cannot_be_handed_on_come_at_the_end(tests: pytest.Pytester) -> None:
    tests.makepyfile("""
        def test_it(teller):
            teller._place = "/nonexistent/pipe"
            teller.tell("dm: late")
    """)
    done = tests.runpytest_subprocess("-p", "no:randomly", "-n", "1")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["dm: late"])


@pytest.mark.parametrize("quiet", [False, True])
def test_a_long_wait_is_told_and_a_short_one_is_not(tests: pytest.Pytester, quiet: bool) -> None:
    tests.makepyfile(f"""
        import time

        def test_it(teller):
            with teller.noted_if_long("dm: short"):
                pass
            with teller.noted_if_long("dm: long"):
                time.sleep({LONG_S + 0.3})
    """)
    began = time.monotonic()
    done = tests.runpytest_subprocess("-p", "no:randomly", *(["-q", "-q"] if quiet else []))
    assert done.ret == 0
    assert time.monotonic() - began > LONG_S
    assert ("dm: long" in done.stdout.str()) is not quiet
    assert "dm: short" not in done.stdout.str()
