"""The tables of a store: each row becomes data of dm_compose.core, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from dm_compose.core.commit import Commit, JournalEntry, Verification, Worktree
from dm_compose.core.names import CommitId, DotName, EntryId, RefName, SubdotName, WorktreeName
from dm_compose.core.plain import from_plain, to_plain
from dm_compose.errors import DamagedError, ExistsError, NotFoundError, UsageError
from dm_compose.state.reflog import Reflog

_WORKTREES = """
    SELECT w.dot, w.name, w.branch, b.commit_id, w.places, w.project, w.tree
    FROM worktrees w LEFT JOIN refs b ON b.dot = w.dot AND b.kind = 'branch' AND b.name = w.branch
"""
T = TypeVar("T")


class Database(Reflog):
    """Typed access to the tables. See Connection for threads, transactions and errors."""

    # Dots

    def dots(self) -> list[DotName]:
        """Return the names of all dots, sorted."""
        return [DotName(name) for (name,) in self._all("SELECT name FROM dots ORDER BY name")]

    def has_dot(self, dot: DotName) -> bool:
        """Return whether there is a dot of that name."""
        return bool(self._all("SELECT 1 FROM dots WHERE name = ?", dot))

    def owners(self) -> dict[DotName, str]:
        """Return the clones: dots that belong to a process, each with a description of it."""
        return {DotName(name): owner for name, owner in self._all("SELECT name, owner FROM dots WHERE owner IS NOT NULL")}

    def add_dot(
        self, dot: DotName, *, branch: RefName, worktree: WorktreeName, tree: bool = False, owner: str | None = None
    ) -> None:
        """Register a dot with one worktree, the current one, on a branch without commits. ExistsError if the name is taken."""
        with self.transaction():
            if self.has_dot(dot):
                raise ExistsError(f"dot {dot} exists already")
            now = datetime.now(UTC).isoformat()
            self._write("INSERT INTO dots (name, created, current, owner) VALUES (?, ?, ?, ?)", dot, now, worktree, owner)
            self.put_worktree(Worktree(dot, worktree, branch, None, tree=tree))

    def remove_dot(self, dot: DotName) -> None:
        """Forget a dot and everything that belongs to it. Idempotent."""
        with self.transaction():
            for table in ("settled", "verified", "refs", "commits", "worktrees", "reflog", "journal", "volumes"):
                self._write(f"DELETE FROM {table} WHERE dot = ?", dot)  # noqa: S608 (names from the line above)
            self._write("DELETE FROM dots WHERE name = ?", dot)

    def current(self, dot: DotName) -> WorktreeName:
        """Return the name of the worktree that the dot's volumes follow. NotFoundError when there is no such dot."""
        rows = self._all("SELECT current FROM dots WHERE name = ?", dot)
        if not rows:
            raise _no_dot(dot)
        return WorktreeName(rows[0][0])

    def set_current(self, dot: DotName, worktree: WorktreeName) -> None:
        """Have the dot's volumes follow a worktree."""
        self._write("UPDATE dots SET current = ? WHERE name = ?", worktree, dot)

    # Commits

    def add_commit(self, commit: Commit) -> None:
        """Register a commit whose objects are in the store."""
        document = json.dumps(to_plain(commit), separators=(",", ":"))
        self._write("INSERT INTO commits VALUES (?, ?, ?, ?)", commit.dot, commit.id, commit.created.isoformat(), document)

    def replace_commit(self, commit: Commit) -> None:
        """Replace the description of a commit, for example when its ancestors have arrived. Its subdots never change."""
        document = json.dumps(to_plain(commit), separators=(",", ":"))
        self._write("UPDATE commits SET document = ? WHERE dot = ? AND id = ?", document, commit.dot, commit.id)

    def remove_commits(self, dot: DotName, commit_ids: Iterable[CommitId]) -> None:
        """Forget commits that no ref names. Idempotent."""
        with self.transaction():
            for commit_id in commit_ids:
                self._write("DELETE FROM commits WHERE dot = ? AND id = ?", dot, commit_id)

    def has_commit(self, commit_id: CommitId) -> bool:
        """Return whether any dot has a commit of that id."""
        return bool(self._all("SELECT 1 FROM commits WHERE id = ?", commit_id))

    def commit(self, dot: DotName, commit_id: CommitId) -> Commit:
        """Return a commit; NotFoundError when the dot has none of that id."""
        rows = self._all("SELECT document FROM commits WHERE dot = ? AND id = ?", dot, commit_id)
        if not rows:
            raise NotFoundError(f"dot {dot} has no commit {commit_id}")
        return _decoded(Commit, rows[0][0])

    def commits(self, dot: DotName | None = None) -> list[Commit]:
        """Return all commits of a dot, or of the whole store, hidden ones included. The oldest comes first."""
        rows = self._all("SELECT document FROM commits WHERE ? IS NULL OR dot = ? ORDER BY created, rowid", dot, dot)
        return [_decoded(Commit, document) for (document,) in rows]

    def parents(self) -> dict[DotName, dict[CommitId, CommitId | None]]:
        """Return the commits of each dot with their parents. Quicker than `commits`, and checks nothing."""
        found: dict[DotName, dict[CommitId, CommitId | None]] = {dot: {} for dot in self.dots()}
        for dot, commit_id, parent in self._all("SELECT dot, id, json_extract(document, '$.parent') FROM commits ORDER BY rowid"):
            found.setdefault(DotName(dot), {})[CommitId(commit_id)] = None if parent is None else CommitId(parent)
        return found

    def commits_by_prefix(self, dot: DotName, prefix: str) -> list[CommitId]:
        """Return the ids of a dot's commits that begin with `prefix` (hex digits), hidden commits included."""
        rows = self._all("SELECT id FROM commits WHERE dot = ? AND substr(id, 1, ?) = ? ORDER BY id", dot, len(prefix), prefix)
        return [CommitId(commit_id) for (commit_id,) in rows]

    # Refs

    def settled(self, dot: DotName) -> dict[CommitId, CommitId]:
        """Return the settled forms of a dot's commits, by commit. If either commit of a pair is removed, so is the pair."""
        rows = self._all("SELECT commit_id, form FROM settled WHERE dot = ?", dot)
        return {CommitId(commit_id): CommitId(form) for commit_id, form in rows}

    def set_settled(self, dot: DotName, commit_id: CommitId, form: CommitId) -> None:
        """Record that the commit `form` is the settled form of another commit."""
        self._write("INSERT OR REPLACE INTO settled VALUES (?, ?, ?)", dot, commit_id, form)

    def verifications(self, dot: DotName) -> dict[CommitId, Verification]:
        """Return the latest verification of each commit of a dot that was verified. It goes with its commit."""
        rows = self._all("SELECT commit_id, document FROM verified WHERE dot = ?", dot)
        return {CommitId(commit_id): _decoded(Verification, document) for commit_id, document in rows}

    def set_verification(self, dot: DotName, commit_id: CommitId, found: Verification) -> None:
        """Note the outcome of a verification, instead of an earlier one."""
        self._write("INSERT OR REPLACE INTO verified VALUES (?, ?, ?)", dot, commit_id, json.dumps(to_plain(found)))

    def refs(self, dot: DotName, kind: str) -> dict[RefName, CommitId]:
        """Return a dot's refs of one kind, sorted by name.

        The `kind` is branch, tag or uncommitted. An uncommitted ref has the name of a branch, and names the state in which that
        was left.
        """
        rows = self._all("SELECT name, commit_id FROM refs WHERE dot = ? AND kind = ? ORDER BY name", dot, kind)
        return {RefName(name): CommitId(commit_id) for name, commit_id in rows}

    def ref(self, dot: DotName, kind: str, name: RefName) -> CommitId | None:
        """Return the commit that a ref names; None when there is no such ref."""
        rows = self._all("SELECT commit_id FROM refs WHERE dot = ? AND kind = ? AND name = ?", dot, kind, name)
        return CommitId(rows[0][0]) if rows else None

    def set_ref(self, dot: DotName, kind: str, name: RefName, commit_id: CommitId) -> None:
        """Create or move a ref."""
        self._write("INSERT OR REPLACE INTO refs VALUES (?, ?, ?, ?)", dot, kind, name, commit_id)

    def remove_ref(self, dot: DotName, kind: str, name: RefName) -> None:
        """Forget a ref. Idempotent."""
        self._write("DELETE FROM refs WHERE dot = ? AND kind = ? AND name = ?", dot, kind, name)

    # Worktrees

    def worktrees(self, dot: DotName) -> dict[WorktreeName, Worktree]:
        """Return all worktrees of a dot by name. NotFoundError when there is no such dot."""
        found = [_worktree(row) for row in self._all(f"{_WORKTREES} WHERE w.dot = ? ORDER BY w.name", dot)]
        if not found and not self.has_dot(dot):
            raise _no_dot(dot)
        return {worktree.name: worktree for worktree in found}

    def worktree(self, dot: DotName, name: WorktreeName) -> Worktree:
        """Return a worktree; NotFoundError when the dot or the worktree does not exist."""
        found = self.find_worktree(dot, name)
        if found is None:
            raise NotFoundError(f"dot {dot} has no worktree {name}") if self.has_dot(dot) else _no_dot(dot)
        return found

    def find_worktree(self, dot: DotName, name: WorktreeName) -> Worktree | None:
        """Return a worktree; None when the dot or the worktree does not exist."""
        rows = self._all(f"{_WORKTREES} WHERE w.dot = ? AND w.name = ?", dot, name)
        return _worktree(rows[0]) if rows else None

    def worktree_of(self, project: str) -> Worktree | None:
        """Return the worktree whose places are the volumes of a Compose project; None when there is none."""
        rows = self._all(f"{_WORKTREES} WHERE w.project = ? ORDER BY w.dot, w.name LIMIT 1", project)
        return _worktree(rows[0]) if rows else None

    def worktree_on(self, dot: DotName, branch: RefName) -> Worktree | None:
        """Return the worktree of a dot that has a branch checked out; None when there is none."""
        rows = self._all(f"{_WORKTREES} WHERE w.dot = ? AND w.branch = ? ORDER BY w.name LIMIT 1", dot, branch)
        return _worktree(rows[0]) if rows else None

    def put_worktree(self, worktree: Worktree) -> None:
        """Create or replace a worktree. Its `head` is not stored, because the branch names it."""
        self._write(
            "INSERT OR REPLACE INTO worktrees (dot, name, branch, places, project, tree) VALUES (?, ?, ?, ?, ?, ?)",
            *(worktree.dot, worktree.name, worktree.branch, json.dumps(dict(worktree.places)), worktree.project),
            int(worktree.tree),
        )

    def remove_worktree(self, dot: DotName, name: WorktreeName) -> None:
        """Forget a worktree. Its reflog is nobody's then, and lasts until it expires. Idempotent."""
        with self.transaction():
            self._write("DELETE FROM worktrees WHERE dot = ? AND name = ?", dot, name)
            self._write("UPDATE reflog SET worktree = '' WHERE dot = ? AND worktree = ?", dot, name)

    # Journal

    def journal(self, dot: DotName | None = None) -> list[JournalEntry]:
        """Return the operations on a dot, or on all dots, that have begun and not ended. The oldest comes first."""
        rows = self._all("SELECT document FROM journal WHERE ? IS NULL OR dot = ? ORDER BY rowid", dot, dot)
        return [_decoded(JournalEntry, document) for (document,) in rows]

    def journal_entry(self, entry_id: EntryId) -> JournalEntry | None:
        """Return an operation that has begun and not ended; None when there is none of that id."""
        rows = self._all("SELECT document FROM journal WHERE id = ?", entry_id)
        return _decoded(JournalEntry, rows[0][0]) if rows else None

    def put_journal(self, entry: JournalEntry) -> None:
        """Write down an operation, or its progress, before it changes anything. NotFoundError when there is no such dot."""
        if not self.has_dot(entry.dot):
            raise _no_dot(entry.dot)
        self._write("INSERT OR REPLACE INTO journal VALUES (?, ?, ?)", entry.id, entry.dot, json.dumps(to_plain(entry)))

    def remove_journal(self, entry_id: EntryId) -> None:
        """Remove the entry of an operation that has ended. Idempotent."""
        self._write("DELETE FROM journal WHERE id = ?", entry_id)

    # Settings and registrations

    def settings(self) -> dict[str, str]:
        """Return all settings of the store by name."""
        return dict(self._all("SELECT name, value FROM settings ORDER BY name"))

    def set_setting(self, name: str, value: str | None) -> None:
        """Change a setting, or forget it if `value` is None."""
        if value is None:
            self._write("DELETE FROM settings WHERE name = ?", name)
        else:
            self._write("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)

    def take_setting(self, name: str) -> str | None:
        """Forget a setting, and return what it was. Of several processes that take it at once, one gets it."""
        if not self._all("SELECT 1 FROM settings WHERE name = ?", name):
            return None
        with self.transaction():
            rows = self._all("SELECT value FROM settings WHERE name = ?", name)
            self.set_setting(name, None)
        return str(rows[0][0]) if rows else None

    def volumes(self) -> dict[str, DotName]:
        """Return the dots of the registered volumes, by the name that Docker uses for the volume. Sorted."""
        return {name: DotName(dot) for name, dot in self._all("SELECT name, dot FROM volumes ORDER BY name")}

    def add_volume(self, name: str, dot: DotName) -> None:
        """Register a volume. Idempotent. NotFoundError when there is no such dot."""
        with self.transaction():
            if not self.has_dot(dot):
                raise _no_dot(dot)
            self._write("INSERT OR REPLACE INTO volumes VALUES (?, ?)", name, dot)

    def remove_volume(self, name: str) -> None:
        """Forget a volume's registration. Idempotent."""
        self._write("DELETE FROM volumes WHERE name = ?", name)

    def digests(self, batch: str) -> dict[str, str]:
        """Return the known sha256 digests (hex) of a batch's objects and manifests, by id."""
        first, last = f"{batch}/", f"{batch}0"  # '0' follows '/'
        return dict(self._all("SELECT object, sha256 FROM digests WHERE object >= ? AND object < ?", first, last))

    def add_digests(self, digests: Mapping[str, str]) -> None:
        """Remember digests. They never change, because objects do not."""
        with self.transaction():
            for ref, digest in digests.items():
                self._write("INSERT OR REPLACE INTO digests VALUES (?, ?)", ref, digest)

    def remove_digests(self, refs: Iterable[str]) -> None:
        """Forget the digests of objects that are gone. Idempotent."""
        with self.transaction():
            for ref in refs:
                self._write("DELETE FROM digests WHERE object = ?", ref)

    def integrity(self) -> list[str]:
        """Return the damage that SQLite itself finds in the file, one sentence for each. A sound file has none."""
        found = [str(row[0]) for row in self._all("PRAGMA integrity_check")]
        rows = self._all("PRAGMA foreign_key_check")
        broken = [f"{table} row {row} refers to a {parent} that is not there" for table, row, parent, _ in rows]
        return [text for text in found if text != "ok"] + broken


def _no_dot(dot: DotName) -> NotFoundError:
    return NotFoundError(f"there is no dot {dot}", hint="`dm-compose commit` or `dm init` makes it; `dm list` lists all.")


def _worktree(row: tuple[Any, ...]) -> Worktree:
    """Build a worktree from a row of _WORKTREES."""
    dot, name, branch, head, places, project, tree = row
    return Worktree(
        DotName(dot),
        WorktreeName(name),
        RefName(branch),
        None if head is None else CommitId(head),
        {SubdotName(subdot): place for subdot, place in json.loads(places).items()},
        project,
        bool(tree),
    )


def _decoded(kind: type[T], document: str) -> T:
    try:
        return from_plain(kind, json.loads(document))
    except (ValueError, TypeError, UsageError) as error:
        raise DamagedError(f"the store's database is damaged: a {kind.__name__} cannot be read: {error}") from None
