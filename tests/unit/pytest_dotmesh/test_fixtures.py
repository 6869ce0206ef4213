"""Fixtures say what they give, to whoever asks pytest."""

from __future__ import annotations

import pytest


def test_fixtures_are_described_where_pytest_lists_them(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from pytest_dotmesh import stack_fixture
        other = stack_fixture(file="other.yaml")
        blue = stack_fixture(commit="blue")
        """
    )
    told = pytester.runpytest_inprocess("--fixtures", "-p", "no:asyncio").stdout.str()
    for line in (
        "The stack at the commit that tests start from, put there before each test, and rolled back after it. See DmStack.",
        "The stack at the commit that tests start from, put there before the first test. See DmStack.",
        "The stack at its HEAD, put there before each test, and rolled back after it. See DmStack.",
        "The stack at commit blue, put there before each test, and rolled back after it. See DmStack.",
    ):
        assert line in told
