"""The command line `dm` on a store in a folder, without an engine."""

from __future__ import annotations

import pytest

from tests.support.machines import Machine


@pytest.fixture
def dm(machine: Machine) -> Machine:
    """A machine with the dot `a`, in it a file with `one` and no commit."""
    machine("init", "a")
    machine.write("a", "file", "one")
    return machine


@pytest.fixture
def used(machine: Machine) -> Machine:
    """A machine with the dot `a`: two commits on master, a branch, a tag, and something uncommitted."""
    machine("init", "a")
    machine.write("a", "file", "one")
    machine.commit("a", "one")
    machine("tag", "v1")
    machine("branch", "other")
    machine.write("a", "file", "two" * 1000)
    machine.write("a", "more", "to lose")
    machine.commit("a", "two")
    machine.write("a", "file", "uncommitted")
    return machine
