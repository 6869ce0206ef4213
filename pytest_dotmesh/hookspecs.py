"""Hooks that a conftest.py or a plugin may implement. docs/pytest.md has examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dm_compose.core.commit import Commit
    from dm_compose.operations.restore import RestoreReport
    from pytest_dotmesh.stack import DmStack


def pytest_dm_before_restore(config: pytest.Config, stack: DmStack, commit: Commit) -> None:
    """Do something before a stack is put to a commit, for example close connections to it.

    The hook is called around tests and in `stack.reset()`, unless nothing was touched since the stack was last at that commit. An
    exception fails the test, and nothing is restored.
    """


def pytest_dm_after_restore(config: pytest.Config, stack: DmStack, report: RestoreReport) -> None:
    """Do something after a stack was put to a commit. All of its datastores answer by now.

    The hook is called after each restore for which `pytest_dm_before_restore` was called. `report.plan` has the steps that were
    taken (`str` gives them as text), `report.touched` the services that were touched and the reasons, and `report.total_s` the
    seconds that it took.
    """
