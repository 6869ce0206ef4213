"""The marker `dm`: the commit that it names, and the refusal of arguments that it does not have."""

from __future__ import annotations

import pytest

from pytest_dotmesh.marker import commit_of


def test_the_marker_takes_a_commit_by_position_or_by_name_and_the_closest_one_counts(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = -p no:asyncio\n")  # it warns without a setting of its own
    items = pytester.getitems(
        """
        import pytest

        @pytest.mark.dm("HEAD^")
        def test_position(): ...

        @pytest.mark.dm(commit="v1")
        def test_name(): ...

        @pytest.mark.dm
        def test_no_commit(): ...

        def test_no_marker(): ...

        @pytest.mark.dm("wide")
        class TestScope:
            def test_wide(self): ...

            @pytest.mark.dm("near")
            def test_near(self): ...
        """
    )
    assert {item.name: commit_of(item) for item in items} == {
        "test_position": "HEAD^",
        "test_name": "v1",
        "test_no_commit": None,
        "test_no_marker": None,
        "test_wide": "wide",
        "test_near": "near",
    }


@pytest.mark.parametrize(
    ("arguments", "told", "workers"),
    [
        ('comit="HEAD"', "the marker dm has no argument 'comit'; did you mean 'commit'?", 2),
        ('comit="HEAD"', "the marker dm has no argument 'comit'; did you mean 'commit'?", 0),
        (
            'branch="x"',
            """the marker dm has no argument 'branch'; it is @pytest.mark.dm("REF") or @pytest.mark.dm(commit="REF")""",
            0,
        ),
        ('"a", "b"', "the marker dm takes one commit, and here are 2; it is *", 0),
        ('"a", commit="b"', "the marker dm takes one commit, and here are 2; it is *", 0),
        ("7", "7 is no commit; the marker is *", 0),
        ('""', "'' is no commit; the marker is *", 0),
    ],
)
def test_a_wrong_argument_ends_the_run_with_file_and_line_before_any_test(
    pytester: pytest.Pytester, arguments: str, told: str, workers: int
) -> None:
    pytester.makepyfile(
        test_first="""
        import pathlib
        def test_runs(): pathlib.Path("ran").write_text("")
        """,
        test_it=f"""
        import pytest

        @pytest.mark.dm({arguments})
        @pytest.mark.parametrize("n", range(9))
        def test_it(n): ...
        """,
    )
    done = pytester.runpytest_subprocess("-p", "no:randomly", "-n", str(workers))
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"ERROR: test_it.py:3: {told}"])
    assert done.stderr.str().count("ERROR") == 1
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    assert not (pytester.path / "ran").exists()


def test_a_wrong_marker_is_refused_also_where_tests_are_only_collected(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.dm(comit='x')\ndef test_it(): ...\n")
    assert pytester.runpytest_subprocess("--collect-only").ret == pytest.ExitCode.USAGE_ERROR
