"""The files that give rights to whoever runs them."""

from __future__ import annotations

import pytest

from dm_compose.core.tree import DIRECTORY, FILE, Manifest, TreeEntry, Xattrs
from dm_compose.store.privileges import privileged_path
from tests.support.trees import CAP_NET_BIND


def tree(kind: str, mode: int, xattrs: Xattrs = ()) -> Manifest:
    """Return a tree with one path in it."""
    return Manifest.of((TreeEntry("", DIRECTORY, 0o755, 0, 0, 0), TreeEntry("it", kind, mode, 0, 0, 0, xattrs=xattrs)))


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6000])
def test_set_id_bits_of_files_are_privileges_and_those_of_directories_are_none(mode: int) -> None:
    assert privileged_path(tree(FILE, mode)) == "it"
    assert privileged_path(tree(DIRECTORY, mode)) is None


@pytest.mark.parametrize("name", ["security.capability", "security.ima", "trusted.overlay.opaque"])
def test_attributes_that_only_root_sets_are_privileges(name: str) -> None:
    assert privileged_path(tree(FILE, 0o755, ((name, CAP_NET_BIND.hex()),))) == "it"
    assert privileged_path(tree(DIRECTORY, 0o755, ((name, CAP_NET_BIND.hex()),))) == "it"


def test_ordinary_files_have_none() -> None:
    assert privileged_path(tree(FILE, 0o1777, (("user.note", "00"), ("system.posix_acl_access", "00")))) is None
