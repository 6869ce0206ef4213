"""Every commit, after any work on a tree and its store in any order, restores exactly what it was made from."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from dm_compose.core.commit import COMMIT
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, ROOT_SUBDOT, CommitId, RefName
from dm_compose.core.upkeep import Holder
from dm_compose.objects import batch, delta
from dm_compose.store.local.store import LocalStore
from tests.support.stores import DATA, DOT, Bench, TreeBench
from tests.support.trees import Description, describe, differences

NAMES = ("a", "b", "d/a", "d/b", "d/e/a", "f")
PATHS = st.sampled_from(NAMES)
BRANCHES = st.sampled_from((DEFAULT_BRANCH, RefName("feature"), RefName("other")))
TAGS = st.sampled_from((RefName("v1"), RefName("v2")))
PICK = st.integers(0, 5)  # one of the files that there are
CONTENTS = st.sampled_from(
    (b"", b"x", b"y", b"y" * 4096, b"z" * 4096, b"z" * 4097, b"x" * 20_000, b"x" * 19_999 + b"y", bytes(10_000))
)
MODES = st.sampled_from((0o600, 0o644, 0o4755, *((0o400,) if os.geteuid() == 0 else ())))


@dataclass
class Inode:
    """A file of the model: what it holds and its mode. Names of one inode are hard links."""

    content: bytes
    mode: int


@dataclass
class Model:
    """Return the contents of the tree, as a dictionary. Directories are those that paths need, and those of `directories`."""

    files: dict[str, Inode] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)

    def seen(self) -> dict[str, object]:
        """Return what a look at the disk must find."""
        found: dict[str, object] = dict.fromkeys(self.directories, "directory")
        for path, inode in self.files.items():
            names = sorted(other for other, same in self.files.items() if same is inode)
            found[path] = (inode.content, inode.mode, names)
        return found

    def parents(self, path: str) -> None:
        """Make the directories above a path."""
        while path := os.path.dirname(path):
            self.directories.add(path)


def look(root: Path) -> dict[str, object]:
    """Return what is on the disk, in the words of the model."""
    found: dict[str, object] = {}
    names: dict[int, list[str]] = {}
    for directory, below, files in os.walk(root):
        for name in below:
            found[os.path.relpath(os.path.join(directory, name), root)] = "directory"
        for name in files:
            full = os.path.join(directory, name)
            info = os.stat(full)
            path = os.path.relpath(full, root)
            names.setdefault(info.st_ino, []).append(path)
            found[path] = (Path(full).read_bytes(), stat.S_IMODE(info.st_mode), names[info.st_ino])
    for same in names.values():
        same.sort()
    return found


@dataclass
class History:
    """The names of commits: the branch that is checked out, all refs, and the reflog's mentions since it was cut."""

    branch: RefName = DEFAULT_BRANCH
    branches: dict[RefName, CommitId] = field(default_factory=dict)
    uncommitted: dict[RefName, CommitId] = field(default_factory=dict)
    tags: dict[RefName, CommitId] = field(default_factory=dict)
    parents: dict[CommitId, CommitId | None] = field(default_factory=dict)
    mentioned: set[CommitId | None] = field(default_factory=set)

    @property
    def head(self) -> CommitId | None:
        return self.branches.get(self.branch)

    def move(self, branch: RefName, head: CommitId, saved: CommitId | None) -> None:
        """Go to a commit of a branch, with what was uncommitted before."""
        self.mentioned |= {self.head, head, saved}
        for name in (branch, self.branch):
            self.uncommitted.pop(name, None)
        if branch != self.branch and saved is not None:
            self.uncommitted[self.branch] = saved
        self.branch, self.branches[branch] = branch, head

    def kept(self, *, reflog: bool) -> set[CommitId]:
        """Return the commits that gc has to keep."""
        pending = {*self.branches.values(), *self.uncommitted.values(), *self.tags.values(), *(self.mentioned if reflog else ())}
        found: set[CommitId] = set()
        while pending:
            commit = pending.pop()
            if commit is not None and commit not in found:
                found.add(commit)
                pending.add(self.parents[commit])
        return found


class StoreMachine(RuleBasedStateMachine):
    """Files are written, linked, renamed and removed; commits are made, abandoned, restored, undone, named and collected;
    branches are left and come back to; stores die and come back.
    """

    commits: Bundle[CommitId] = Bundle("commits")
    undos: Bundle[CommitId] = Bundle("undos")
    links = True

    def __init__(self) -> None:
        super().__init__()
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.home = Path(tempfile.mkdtemp(prefix="dm-compose-test-", dir=base))
        self.model = Model()
        self.states: dict[CommitId, tuple[Model, Description]] = {}
        self.history = History()
        self.bench = self.open()
        self.root = Path(self.bench.directories[self.top])

    top = DATA

    def open(self) -> Bench:
        (self.home / "data").mkdir(exist_ok=True)
        return Bench(LocalStore(self.home / "store"), data=self.home / "data")

    def teardown(self) -> None:
        try:
            for commit in self.states:
                self.bench.restore(commit)
                self.check_restored(commit)
            assert self.bench.store.check({}, repair=False).sound
        finally:
            self.bench.store.close()
            shutil.rmtree(self.home)

    # The tree

    @rule(path=PATHS, content=CONTENTS)
    def write(self, path: str, content: bytes) -> None:
        if path in self.model.directories:
            return
        self.make_room(path)
        if path not in self.model.files:
            (self.root / path).touch(mode=0o644)
            os.chmod(self.root / path, 0o644)
            self.model.files[path] = Inode(b"", 0o644)
        (self.root / path).write_bytes(content)
        self.model.files[path].content = content
        if self.model.files[path].mode & 0o7000:  # the kernel may drop set-id bits when a file is written
            os.chmod(self.root / path, self.model.files[path].mode)

    def make_room(self, path: str) -> None:
        """Have directories above a path, and no files."""
        above = os.path.dirname(path)
        while above:
            if above in self.model.files:
                (self.root / above).unlink()
                del self.model.files[above]
            above = os.path.dirname(above)
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        self.model.parents(path)

    def picked(self, number: int) -> str | None:
        """Return one of the files that there are."""
        files = sorted(self.model.files)
        return files[number % len(files)] if files else None

    @rule(pick=PICK, offset=st.sampled_from((0, 4095, 4096, 19_999)), data=st.binary(min_size=1, max_size=9))
    def modify(self, pick: int, offset: int, data: bytes) -> None:
        """Write into a file in place, and put its time back, as a file system that loses time stamps would."""
        if (path := self.picked(pick)) is None:
            return
        inode = self.model.files[path]
        info = os.stat(self.root / path)
        with open(self.root / path, "r+b") as file:
            file.seek(offset)
            file.write(data)
        os.chmod(self.root / path, inode.mode)
        os.utime(self.root / path, ns=(info.st_atime_ns, info.st_mtime_ns))
        inode.content = inode.content[:offset].ljust(offset, b"\0") + data + inode.content[offset + len(data) :]

    @rule(pick=PICK, size=st.sampled_from((0, 1, 4096, 9000)))
    def truncate(self, pick: int, size: int) -> None:
        if (path := self.picked(pick)) is None:
            return
        inode = self.model.files[path]
        os.truncate(self.root / path, size)
        os.chmod(self.root / path, inode.mode)
        inode.content = inode.content[:size].ljust(size, b"\0")

    @rule(path=st.sampled_from((*NAMES, "d/e")))
    def delete(self, path: str) -> None:
        if path in self.model.files:
            (self.root / path).unlink()
            del self.model.files[path]
        elif path in self.model.directories:
            shutil.rmtree(self.root / path)
            self.model.files = {p: i for p, i in self.model.files.items() if not p.startswith(path + "/")}
            self.model.directories = {d for d in self.model.directories if d != path and not d.startswith(path + "/")}

    @rule(pick=PICK, other=PATHS)
    def rename(self, pick: int, other: str) -> None:
        path = self.picked(pick)
        if path is None or other in self.model.directories:
            return
        self.make_room(other)
        if path not in self.model.files:
            return
        os.rename(self.root / path, self.root / other)
        if self.model.files.get(other) is not self.model.files[path]:  # names of one inode stay both
            self.model.files[other] = self.model.files.pop(path)

    @rule(pick=PICK, other=PATHS)
    def link(self, pick: int, other: str) -> None:
        path = self.picked(pick)
        if path is None or other in self.model.directories or other == path or not self.links:
            return
        self.make_room(other)
        if path not in self.model.files:
            return
        if other in self.model.files:
            (self.root / other).unlink()
        os.link(self.root / path, self.root / other)
        self.model.files[other] = self.model.files[path]

    @rule(pick=PICK, mode=MODES)
    def chmod(self, pick: int, mode: int) -> None:
        if (path := self.picked(pick)) is not None:
            os.chmod(self.root / path, mode)
            self.model.files[path].mode = mode

    @rule(path=st.sampled_from(("f", "b")))
    def replace_by_a_directory(self, path: str) -> None:
        if path in self.model.files:
            (self.root / path).unlink()
            del self.model.files[path]
        (self.root / path).mkdir(exist_ok=True)
        self.model.directories.add(path)

    # The store

    def remember(self, commit: CommitId) -> CommitId:
        self.states[commit] = copy.deepcopy(self.model), describe(self.root)
        self.history.parents[commit] = self.history.head
        return commit

    def committed(self, commit: CommitId) -> CommitId:
        self.history.move(self.history.branch, self.remember(commit), None)
        return commit

    def check_restored(self, commit: CommitId) -> None:
        model, description = self.states[commit]
        assert look(self.root) == model.seen()
        assert differences(description, describe(self.root)) == []
        assert self.bench.differing(commit) == []
        self.model = copy.deepcopy(model)

    @initialize(target=commits)
    def first(self) -> CommitId:
        for path, content in (("a", b"x"), ("b", b"y" * 4096), ("d/a", b"x" * 20_000), ("d/e/a", b"")):
            self.write(path, content)
        self.link(0, "d/b")
        return self.commit()

    @rule(target=commits)
    def commit(self) -> CommitId:
        return self.committed(self.bench.commit())

    @rule(target=commits, pick=PICK)
    def commit_without_an_index(self, pick: int) -> CommitId:
        """A change in place has to be found by comparing."""
        self.reopen(index=False)
        self.modify(pick, 0, b"!")
        return self.commit()

    @rule(target=commits, path=PATHS, content=CONTENTS, gone=PATHS)
    def commit_while_written_to(self, path: str, content: bytes, gone: str) -> CommitId:
        entry = self.bench.prepare()
        self.write(path, content)
        self.delete(gone)
        self.bench.store.capture(entry)
        commit = self.committed(self.bench.publish(entry))
        self.write(path, b"too late for this commit")
        return commit

    @rule(commit=commits)
    def restore(self, commit: CommitId) -> None:
        """A visit: the head stays."""
        if commit in self.states:
            self.bench.restore(commit)
            self.check_restored(commit)

    def go(self, action: str, branch: RefName, head: CommitId, target: CommitId) -> CommitId | None:
        """Have the command do it, and check that it does; return what was uncommitted before."""
        before = self.model, describe(self.root)
        saved = self.bench.go(action, branch, head, target)
        if saved is not None:
            self.states[saved] = copy.deepcopy(before[0]), before[1]
            self.history.parents[saved] = self.history.head
        self.history.move(branch, head, saved)
        self.check_restored(target)
        return saved

    @rule(target=undos, commit=commits)
    def reset_with_save(self, commit: CommitId) -> object:
        if commit not in self.states:
            return multiple()
        saved = self.go("reset", self.history.branch, commit, commit)
        return multiple() if saved is None else saved

    @rule(target=commits, saved=consumes(undos))
    def undo(self, saved: CommitId) -> object:
        if saved not in self.states:
            return multiple()
        assert self.bench.store.commit(DOT, saved).hidden
        self.bench.restore(saved)
        self.check_restored(saved)
        return saved

    @rule()
    def undo_the_last_move(self) -> None:
        """As the reflog tells it: back to the branch that was left, and what was uncommitted there."""
        entries = self.bench.store.reflog(DOT, MAIN_WORKTREE)
        if entries and entries[0].action in ("checkout", "reset") and entries[0].old is not None:
            self.go("undo", entries[0].left, entries[0].old, entries[0].saved or entries[0].old)

    @rule(branch=BRANCHES)
    def checkout(self, branch: RefName) -> None:
        """Of a new branch: at the head. Uncommitted changes stay with their branch."""
        head = self.history.branches.get(branch, self.history.head)
        uncommitted = self.history.uncommitted.get(branch) if branch != self.history.branch else None
        self.go("checkout", branch, head, uncommitted or head)

    @rule(branch=BRANCHES)
    def remove_branch(self, branch: RefName) -> None:
        if branch == self.history.branch or branch not in self.history.branches:
            return
        self.bench.store.remove_branch(DOT, branch)
        held = self.history.branches.pop(branch)
        self.history.mentioned |= {self.history.head, self.history.uncommitted.pop(branch, held)}

    @rule(commit=st.one_of(commits, undos), name=TAGS)
    def tag(self, commit: CommitId, name: RefName) -> None:
        if name in self.history.tags:
            self.bench.store.remove_tag(DOT, name)
            del self.history.tags[name]
        if commit in self.states:
            self.bench.store.set_tag(DOT, name, commit)
            self.history.tags[name] = commit

    @rule(reflog=st.booleans())
    def collect(self, reflog: bool) -> None:
        """With the reflog or without. The live state may be a visit to a commit that goes."""
        since = datetime.now(UTC) + timedelta(days=-1 if reflog else 1)
        self.bench.store.space()  # the index has a file from now on
        told, takes = self.bench.store.holdings(since), self.bench.store.space().size_bytes
        found = self.bench.store.collect(since)
        sizes = {held.holder: held.size_bytes for held in told.held}
        assert (told.size_bytes, sizes[Holder.NOBODY]) == (takes, found.size_bytes)
        kept = self.history.kept(reflog=reflog)
        if not reflog:
            self.history.mentioned.clear()
        assert set(found.commits) == self.states.keys() - kept
        self.states = {commit: state for commit, state in self.states.items() if commit in kept}

    @rule(path=PATHS, content=CONTENTS, captured=st.booleans())
    def abandon(self, path: str, content: bytes, captured: bool) -> None:
        entry = self.bench.prepare()
        if captured:
            self.bench.store.capture(entry)
        self.write(path, content)
        self.bench.store.abandon(entry)

    @rule(commit=commits, begun=st.booleans())
    def die_during_a_restore_and_recover(self, commit: CommitId, begun: bool) -> None:
        if commit not in self.states:
            return
        entry = self.bench.begin(commit, move=True)
        if begun:
            self.bench.put_in_place(entry)
        self.reopen(index=True)
        (left,) = self.bench.store.unfinished(DOT)
        self.bench.finish(left.id)
        self.history.move(self.history.branch, commit, None)
        self.check_restored(commit)

    @rule(captured=st.booleans(), hidden=st.booleans(), target=undos)
    def die_during_a_commit_and_recover(self, captured: bool, hidden: bool) -> object:
        entry = self.bench.prepare()
        if captured or hidden:
            self.bench.store.capture(entry)
        saved = self.remember(self.bench.publish(entry, hidden=True)) if hidden else None
        self.reopen(index=True)
        (left,) = self.bench.store.unfinished(DOT)
        assert left.operation == COMMIT
        self.bench.store.abandon(left.id)
        return saved if saved is not None else multiple()

    @rule(index=st.booleans())
    def reopen(self, index: bool) -> None:
        """Another process goes on, with the index or without."""
        self.bench.store.close()
        if not index:
            shutil.rmtree(self.home / "store/index", ignore_errors=True)
        self.bench = self.open()

    # What always holds

    @invariant()
    def the_tree_is_the_model(self) -> None:
        assert look(self.root) == self.model.seen()

    @invariant()
    def nothing_is_left_open(self) -> None:
        assert self.bench.store.unfinished(DOT) == []
        assert not os.listdir(self.home / "store/incoming")

    @invariant()
    def every_name_is_where_it_was_put(self) -> None:
        store = self.bench.store
        assert (self.bench.branch, self.bench.head) == (self.history.branch, self.history.head)
        assert (store.branches(DOT), store.uncommitted(DOT)) == (self.history.branches, self.history.uncommitted)
        assert store.tags(DOT) == self.history.tags


class BlockMachine(StoreMachine):
    """The same where the smallest file that changes becomes blocks, and few extents are too many."""

    def __init__(self) -> None:
        self.patches = contextlib.ExitStack()
        self.patches.enter_context(mock.patch.object(batch, "SMALL_BYTES", 0))
        self.patches.enter_context(mock.patch.object(delta, "MAX_EXTENTS", 2))
        super().__init__()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.patches.close()


class TreeMachine(StoreMachine):
    """The same in a tree, where names in the root become subdots and cease to be. Hard links between subdots are not kept."""

    links = False
    top = ROOT_SUBDOT

    def open(self) -> Bench:
        return TreeBench(LocalStore(self.home / "store"))


def limits(examples: int) -> settings:
    """No shrinking: it takes minutes here, and would run into the time limit of a test before it can say what failed."""
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = limits(40)
TestTreeMachine = TreeMachine.TestCase
TestTreeMachine.settings = limits(20)
TestBlockMachine = BlockMachine.TestCase
TestBlockMachine.settings = limits(40)
