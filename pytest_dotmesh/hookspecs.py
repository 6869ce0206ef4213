"""Hooks that a conftest.py or a plugin may implement; docs/pytest.md has examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dm_compose.core.commit import Commit
    from dm_compose.operations.restore import RestoreReport
    from pytest_dotmesh.stack import DmStack


def pytest_dm_before_restore(config: pytest.Config, stack: DmStack, commit: Commit) -> None:
    """Called before a stack is put to a commit, around a test or by `stack.reset()`; not where nothing was touched since it
    was last there. Connections to it can be closed in good order here. An exception fails the test, and nothing is restored.
    """


def pytest_dm_after_restore(config: pytest.Config, stack: DmStack, report: RestoreReport) -> None:
    """Called after each such restore, when all of the stack answers. `report.plan` says what was done (as text: `str`),
    `report.touched` which services were touched and why, `report.total_s` how long it took.
    """
