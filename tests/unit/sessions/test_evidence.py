"""The state of a failed test has a name: a branch name for any store and remote, told from all others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dm_compose.core.names import RefName
from dm_compose.remotes.names import Tag
from dm_compose.sessions.evidence import Failure, failed_branch


def test_a_test_is_found_by_its_path_and_name() -> None:
    failure = Failure("1a2b3c4d", "tests/test_shop.py::TestCart::test_add[2 of 3]", "failed")
    assert failed_branch(failure, ()) == "failed/1a2b3c4d/tests/test_shop.py/TestCart/test_add-2-of-3"
    again = failed_branch(failure, ["failed/1a2b3c4d/tests/test_shop.py/TestCart/test_add-2-of-3"])
    assert again == "failed/1a2b3c4d/tests/test_shop.py/TestCart/test_add-2-of-3-2"


@given(st.lists(st.text(max_size=300) | st.text(alphabet="./:a-[] ", max_size=200), max_size=6))
def test_whatever_a_test_is_called_its_branch_is_a_name_that_is_not_taken_and_fits_a_remote(tests: list[str]) -> None:
    taken: list[str] = []
    for test in [*tests, *tests]:
        name = failed_branch(Failure("1a2b3c4d", test, "failed"), taken)
        assert RefName.parse(name) == name
        assert Tag.of_branch(name).branch == name
        assert name not in taken
        taken.append(name)
