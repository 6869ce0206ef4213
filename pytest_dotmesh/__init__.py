"""Restore the state of a whole Compose stack before each test and roll it back afterwards."""

from pytest_dotmesh.fixtures import stack_fixture
from pytest_dotmesh.stack import DmStack, ExecResult

__all__ = ["DmStack", "ExecResult", "stack_fixture"]
