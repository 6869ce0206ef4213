"""The parts that every test shares: the header that shows capabilities, and the marker for tests on a real engine."""

from __future__ import annotations

import signal

import pytest

from tests.support.capabilities import capabilities, missing_required


def pytest_configure() -> None:
    # A shell without job control has its background commands ignore ^C. Their children inherit that, and tests interrupt some.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    found = ", ".join(f"{name}: {answer}" for name, answer in capabilities().items())
    return [f"capabilities: {found}"]


def pytest_sessionstart() -> None:
    if missing := missing_required():
        raise pytest.UsageError(f"DM_REQUIRE asks for what this machine does not have: {', '.join(missing)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("engine") is None:
            continue
        for needed in ("docker", "compose", "images"):
            if (answer := capabilities()[needed]) != "yes":
                item.add_marker(pytest.mark.skip(reason=f"{needed}: {answer}"))
