"""The history of a local store: rows of its database, and the trees that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dm_compose.core.commit import (
    Commit,
    JournalEntry,
    ReflogEntry,
    Verification,
    Worktree,
)
from dm_compose.core.names import (
    DEFAULT_BRANCH,
    MAIN_WORKTREE,
    CommitId,
    DotName,
    RefName,
    SubdotName,
    WorktreeName,
    did_you_mean,
)
from dm_compose.errors import ExistsError, InUseError, NotFoundError
from dm_compose.objects.system import file_errors, sync_filesystem
from dm_compose.store.local.parts import StoreParts
from dm_compose.store.local.refs import resolve


class LocalHistory(StoreParts):
    """See dm_compose.store.history.History."""

    def dots(self) -> list[DotName]:
        return self._database.dots()

    def has_dot(self, dot: DotName) -> bool:
        return self._database.has_dot(dot)

    def clones(self) -> dict[DotName, str]:
        return self._database.owners()

    def create_dot(self, dot: DotName, *, tree: bool = False, owner: str | None = None) -> None:
        left = None  # the trees that a killed deletion has left
        with self._database.transaction(), file_errors("making a dot"):
            self._database.add_dot(dot, branch=DEFAULT_BRANCH, worktree=MAIN_WORKTREE, tree=tree, owner=owner)
            left = self._trees.set_aside(dot)
            if tree:
                self._trees.create(dot, MAIN_WORKTREE)
                self._trees.point(dot, MAIN_WORKTREE)
        self._discard(left)

    def delete_dot(self, dot: DotName) -> None:
        self._database.remove_dot(dot)
        left = None
        with self._database.transaction(), file_errors("removing a dot"):
            if not self._database.has_dot(dot):  # somebody may have made it anew meanwhile, which takes no lock
                left = self._trees.set_aside(dot)
                self._indexes.remove(dot)
        self._discard(left)

    def _discard(self, directory: Path | None) -> None:
        with file_errors("removing a tree"):
            self._trees.discard(directory)

    def current(self, dot: DotName) -> WorktreeName:
        return self._database.current(dot)

    def worktrees(self, dot: DotName) -> dict[WorktreeName, Worktree]:
        return self._database.worktrees(dot)

    def worktree_of(self, project: str) -> Worktree | None:
        return self._database.worktree_of(project)

    def tree(self, dot: DotName, name: WorktreeName) -> dict[SubdotName, str]:
        self._require_tree(dot, name)
        with file_errors("looking at a tree"):
            return self._trees.subdots(dot, name)

    def make_subdot(self, dot: DotName, name: WorktreeName, subdot: SubdotName) -> str:
        self._require_tree(dot, name)
        with file_errors("making a subdot"):
            self._trees.create(dot, name)
            try:
                return str(self._trees.make(dot, name, subdot))
            except FileExistsError as error:
                raise ExistsError(
                    f"subdot {subdot} of dot {dot} cannot be made, because {error.filename} is no directory",
                    hint="Move it away, or choose another name.",
                ) from None

    def _require_tree(self, dot: DotName, name: WorktreeName) -> None:
        if not self.worktree(dot, name).tree:
            raise NotFoundError(f"worktree {name} of dot {dot} is no directory of the store")

    def add_worktree(self, worktree: Worktree, start: CommitId, entry: JournalEntry | None = None) -> None:
        dot, name = worktree.dot, worktree.name
        if self._database.find_worktree(dot, name) is not None:
            raise ExistsError(f"dot {dot} has a worktree {name} already")
        self._refuse_branch_in_use(dot, worktree.branch)
        commit = self._database.commit(dot, self._database.ref(dot, "branch", worktree.branch) or start)
        built = left = None
        if worktree.tree:
            uncommitted = self._database.ref(dot, "uncommitted", worktree.branch)
            built = self._build_tree(dot, name, self._database.commit(dot, uncommitted) if uncommitted else commit)
        with self._database.transaction():
            if built is not None:
                with file_errors("making a tree"):
                    left = self._trees.take_in(dot, name, built)
            if self._database.ref(dot, "branch", worktree.branch) is None:
                self._database.set_ref(dot, "branch", worktree.branch, start)
            if worktree.tree:
                self._database.remove_ref(dot, "uncommitted", worktree.branch)
            self._database.put_worktree(worktree)
            if entry is not None:
                self._database.put_journal(entry)
        self._discard(left)

    def _build_tree(self, dot: DotName, name: WorktreeName, commit: Commit) -> Path:
        with file_errors("making a tree"):
            place = self._trees.begin(dot, name)
            try:
                made = self._write_out(str(place), commit)
                sync_filesystem(place)
            except BaseException:
                self._trees.discard(place)
                raise
        for subdot, tree in made.items():
            self._remember((dot, name, subdot), tree)
        return place

    def remove_worktree(self, dot: DotName, name: WorktreeName, saved: CommitId | None = None) -> None:
        if name in (MAIN_WORKTREE, self._database.current(dot)):
            kind = "main" if name == MAIN_WORKTREE else "current"
            raise InUseError(f"worktree {name} of dot {dot} is the {kind} one, which cannot be removed")
        worktree = self.worktree(dot, name)
        with self._database.transaction():
            self._database.remove_worktree(dot, name)
            if saved is not None:
                self._database.set_ref(dot, "uncommitted", worktree.branch, saved)
        with file_errors("removing a worktree"):
            left = self._trees.set_aside(dot, name) if worktree.tree else None
            self._indexes.remove(dot, name)
        self._discard(left)

    def set_places(self, dot: DotName, name: WorktreeName, places: Mapping[SubdotName, str]) -> None:
        with self._database.transaction():
            worktree = self.worktree(dot, name)
            self._database.put_worktree(replace(worktree, places={**worktree.places, **places}))

    def resolve(self, dot: DotName, worktree: WorktreeName, ref: str) -> CommitId:
        return resolve(self._database, dot, worktree, ref)

    def commit(self, dot: DotName, commit_id: CommitId) -> Commit:
        return self._database.commit(dot, commit_id)

    def log(self, dot: DotName, start: CommitId) -> list[Commit]:
        found = []
        current: CommitId | None = start
        while current is not None:
            commit = self._database.commit(dot, current)
            found.append(commit)
            current = None if commit.shallow else commit.parent
        return found

    def branches(self, dot: DotName) -> Mapping[RefName, CommitId]:
        return self._database.refs(dot, "branch")

    def tags(self, dot: DotName) -> Mapping[RefName, CommitId]:
        return self._database.refs(dot, "tag")

    def uncommitted(self, dot: DotName) -> Mapping[RefName, CommitId]:
        return self._database.refs(dot, "uncommitted")

    def add_branch(self, dot: DotName, name: RefName, commit_id: CommitId) -> None:
        with self._database.transaction():
            unborn = {worktree.branch for worktree in self.worktrees(dot).values()} | self.uncommitted(dot).keys()
            if name in self.branches(dot) or name in unborn:
                raise ExistsError(f"branch {name} of dot {dot} exists already")
            self._database.set_ref(dot, "branch", name, self._database.commit(dot, commit_id).id)

    def begin_branch(self, dot: DotName, worktree: WorktreeName, name: RefName) -> None:
        with self._database.transaction():
            self._refuse_branch_in_use(dot, name, but_for=worktree)
            if self._database.ref(dot, "branch", name) is not None:
                raise ExistsError(f"branch {name} of dot {dot} exists already", hint=f"To go there: checkout {name}")
            self._database.put_worktree(replace(self.worktree(dot, worktree), branch=name))

    def move_branch(self, dot: DotName, name: RefName, commit_id: CommitId) -> None:
        with self._database.transaction():
            self._refuse_branch_in_use(dot, name)
            self._database.set_ref(dot, "branch", name, self._database.commit(dot, commit_id).id)

    def remove_branch(self, dot: DotName, name: RefName) -> None:
        with self._database.transaction():
            self._refuse_branch_in_use(dot, name)
            held = self._database.ref(dot, "uncommitted", name) or self._database.ref(dot, "branch", name)
            if held is None:
                near = did_you_mean(name, self.branches(dot))
                raise NotFoundError(f"dot {dot} has no branch {name}", hint=near or "`branch` lists the branches.")
            for kind in ("branch", "uncommitted"):
                self._database.remove_ref(dot, kind, name)
            worktree = self.worktree(dot, self._database.current(dot))
            self._log(worktree, f"branch -d {name}", worktree.head, held)

    def share_commit(self, source: DotName, commit_id: CommitId, dot: DotName) -> Commit:
        with self._database.transaction():
            commit = self._database.commit(source, commit_id)
            if commit_id in self._database.commits_by_prefix(dot, commit_id):
                return self._database.commit(dot, commit_id)
            orphan = commit.parent is not None and not self._database.commits_by_prefix(dot, commit.parent)
            shared = replace(commit, dot=dot, shallow=commit.shallow or orphan)
            self.current(dot)
            self._database.add_commit(shared)
        return shared

    def set_tag(self, dot: DotName, name: RefName, commit_id: CommitId, *, move: bool = False) -> None:
        with self._database.transaction():
            if (before := self._database.ref(dot, "tag", name)) is not None:
                if not move:
                    raise ExistsError(f"tag {name} of dot {dot} exists already", hint="`tag -f` moves it, `tag -d` removes it.")
                worktree = self.worktree(dot, self._database.current(dot))
                self._log(worktree, f"tag -f {name}", worktree.head, before)
            self._database.set_ref(dot, "tag", name, self._database.commit(dot, commit_id).id)

    def remove_tag(self, dot: DotName, name: RefName) -> None:
        if self._database.ref(dot, "tag", name) is None:
            near = did_you_mean(name, self.tags(dot))
            raise NotFoundError(f"dot {dot} has no tag {name}", hint=near or "`tag` lists the tags.")
        self._database.remove_ref(dot, "tag", name)

    def settled(self, dot: DotName, commit_id: CommitId) -> CommitId | None:
        return self._database.settled(dot).get(commit_id)

    def set_settled(self, dot: DotName, commit_id: CommitId, form: CommitId) -> None:
        with self._database.transaction():
            self._database.set_settled(dot, self._database.commit(dot, commit_id).id, self._database.commit(dot, form).id)

    def verifications(self, dot: DotName) -> Mapping[CommitId, Verification]:
        return self._database.verifications(dot)

    def set_verification(self, dot: DotName, commit_id: CommitId, found: Verification) -> None:
        with self._database.transaction():
            self._database.set_verification(dot, self._database.commit(dot, commit_id).id, found)

    def reflog(self, dot: DotName, worktree: WorktreeName) -> list[ReflogEntry]:
        return self._database.reflog(dot, worktree)

    def settings(self) -> dict[str, str]:
        return self._database.settings()

    def set_setting(self, name: str, value: str | None) -> None:
        self._database.set_setting(name, value)

    def volumes(self) -> dict[str, DotName]:
        return self._database.volumes()

    def add_volume(self, name: str, dot: DotName) -> None:
        self.current(dot)
        self._database.add_volume(name, dot)

    def remove_volume(self, name: str) -> None:
        self._database.remove_volume(name)
