"""The state of well-known stacks is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.capabilities import needs_compose
from tests.support.plans import plan_of, shown
from tests.unit.discovery.subdots.well_known import STACKS

pytestmark = needs_compose


@pytest.mark.parametrize("name", STACKS)
def test_the_state_of_a_well_known_stack_is_found_and_nothing_else(tmp_path: Path, name: str) -> None:
    stack = STACKS[name]
    subdots, skipped = shown(plan_of(tmp_path, stack.text, stack.images))
    assert subdots == stack.subdots
    assert skipped == stack.skipped
