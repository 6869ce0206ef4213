"""Which steps make a tree equal to a manifest. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from dm_compose.core.tree import BLOCK, CHAR, DIRECTORY, FILE, HARDLINK, SYMLINK, Manifest, TreeEntry
from dm_compose.storage.scan import Tree


@dataclass
class TreePlan:
    """The steps that make a tree equal to `target`: remove paths, create paths, rewrite files, set metadata.

    In `remove` the paths in a directory come before the directory.
    """

    target: Manifest
    remove: list[str] = field(default_factory=list)
    create: list[TreeEntry] = field(default_factory=list)
    rewrite: list[TreeEntry] = field(default_factory=list)
    metadata: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.remove or self.create or self.rewrite or self.metadata)


def plan_tree(tree: Tree, target: Manifest, without: Collection[str] = ()) -> TreePlan:
    """Compare a scanned tree with a manifest. Pure. A file whose contents are not known is rewritten.

    Paths in `without`, and directories above them, stay even if the manifest has something else there.
    """
    above = {parent for path in without for parent in _parents(path)}
    if without:
        target = _around(target, without, above)
    plan = TreePlan(target)
    kept = _kept_paths(tree, target)
    plan.remove = [path for path in reversed(tree) if path not in kept and path not in above]
    for path, wanted in target.entries.items():
        if path not in kept:
            plan.create.append(wanted)
        else:
            present = tree[path].entry
            if wanted.kind == FILE and present.ref != wanted.ref:
                plan.rewrite.append(wanted)
            elif present != wanted:
                plan.metadata.add(path)
    touched = [*plan.remove, *(e.path for e in plan.create), *(e.path for e in plan.rewrite)]
    plan.metadata.update(e.path for e in plan.create + plan.rewrite)
    plan.metadata.update(parent for path in touched if (parent := _parent(path)) in target.entries)
    return plan


def _kept_paths(tree: Tree, target: Manifest) -> set[str]:
    """Return the paths whose inode can stay: those of the same kind whose hard links have the same names on both sides."""
    live_names = _names_by_first({path: found.entry for path, found in tree.items()})
    wanted_names = _names_by_first(target.entries)
    kept: set[str] = set()
    for path, found in tree.items():
        wanted = target.entries.get(path)
        present = found.entry
        if wanted is None or wanted.kind != present.kind:
            continue
        if present.kind in (SYMLINK, CHAR, BLOCK) and present.ref != wanted.ref:
            continue
        if (
            present.kind == FILE
            and (found.links != 1 or path in live_names or path in wanted_names)
            and (live_names.get(path) != wanted_names.get(path) or found.links != 1 + len(live_names.get(path, ())))
        ):
            continue
        if present.kind == HARDLINK and (present.ref != wanted.ref or present.ref not in kept):
            continue
        kept.add(path)
    return kept


def _names_by_first(entries: dict[str, TreeEntry]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = defaultdict(set)
    for entry in entries.values():
        if entry.kind == HARDLINK:
            names[entry.ref].add(entry.path)
    return dict(names)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _parents(path: str) -> Iterator[str]:
    while path := _parent(path):
        yield path


def _around(target: Manifest, without: Collection[str], above: Collection[str]) -> Manifest:
    """Return a manifest that fits around the paths in `without`.

    Entries at these paths are left out, and so are entries at the paths `above` them that are no directories, together with
    everything below. A file whose first name is left out goes on under its next one.
    """
    dropped: dict[str, TreeEntry] = {}
    for path, entry in target.entries.items():
        if path in without or (path in above and entry.kind != DIRECTORY) or (dropped and _parent(path) in dropped):
            dropped[path] = entry
    if not dropped:
        return target
    kept = []
    first_names: dict[str, str] = {}  # new first names of files whose first name is left out
    for path, entry in target.entries.items():
        if path in dropped:
            continue
        if entry.kind == HARDLINK and entry.ref in dropped:
            first = first_names.setdefault(entry.ref, path)
            entry = dropped[entry.ref]._replace(path=path) if first == path else entry._replace(ref=first)
        kept.append(entry)
    return Manifest.of(kept)
