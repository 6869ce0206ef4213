"""The SQLite file of a store. The only module that imports sqlite3."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dm_compose.core.commit import Commit, JournalEntry, ReflogEntry, Worktree
from dm_compose.core.names import CommitId, DotName, EntryId, RefName, SubdotName, WorktreeName
from dm_compose.core.plain import from_plain, to_plain
from dm_compose.errors import DamagedError, DiskFullError, ExistsError, NotFoundError, StoreError, UsageError
from dm_compose.state.schema import MIGRATIONS, SCHEMA_VERSION

BUSY_TIMEOUT_S = 30.0
_WORKTREES = """
    SELECT w.dot, w.name, w.branch, b.commit_id, w.places, w.project, w.tree
    FROM worktrees w LEFT JOIN refs b ON b.dot = w.dot AND b.kind = 'branch' AND b.name = w.branch
"""
T = TypeVar("T")


class Database:
    """Typed access to the tables. Thread-safe; every call is a transaction of its own unless inside `transaction()`.

    Durable when the outermost transaction has returned (WAL, synchronous=FULL). Several processes may have the file open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        with self._errors():
            self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._migrate()

    def _migrate(self) -> None:
        version = self._version()
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"the store was written by a newer version of dm-compose (format {version}, this one knows {SCHEMA_VERSION})",
                hint="Upgrade dm-compose, or point DM_HOME at another store.",
            )
        if version < SCHEMA_VERSION:
            with self.transaction():
                for number in range(self._version(), SCHEMA_VERSION):
                    for statement in MIGRATIONS[number].split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {number + 1}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the file; the object is of no use afterwards."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            if "full" in text or error.sqlite_errorname == "SQLITE_IOERR_SHMSIZE":
                raise DiskFullError(
                    "writing the store's database: no space left on the device", hint="Free space; nothing was changed."
                ) from None
            if "readonly" in text or "unable to open" in text:
                raise StoreError(
                    f"the store at {self._path.parent} is not writable", hint="Check its owner and mode, or set DM_HOME."
                ) from None
            raise StoreError(f"using the store's database failed: {text}") from error
        except sqlite3.DatabaseError as error:
            raise DamagedError(f"the store's database is damaged: {error}") from error
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r} is not text") from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of the block durable together, or none of them. Blocks may nest; the outermost one counts."""
        with self._lock, self._errors():
            self._depth += 1
            try:
                if self._depth == 1:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._depth == 1 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._errors():
            return self._connection.execute(sql, values).fetchall()

    def _write(self, sql: str, *values: object) -> int:
        with self.transaction():
            return self._connection.execute(sql, values).rowcount

    # Dots

    def dots(self) -> list[DotName]:
        """Names of all dots, sorted."""
        return [DotName(name) for (name,) in self._all("SELECT name FROM dots ORDER BY name")]

    def has_dot(self, dot: DotName) -> bool:
        """Whether there is a dot of that name."""
        return bool(self._all("SELECT 1 FROM dots WHERE name = ?", dot))

    def owners(self) -> dict[DotName, str]:
        """The dots that go with an owner, and who that is."""
        return {DotName(name): owner for name, owner in self._all("SELECT name, owner FROM dots WHERE owner IS NOT NULL")}

    def add_dot(
        self, dot: DotName, *, branch: RefName, worktree: WorktreeName, tree: bool = False, owner: str | None = None
    ) -> None:
        """Register a dot with one worktree, the current one, on an unborn branch; ExistsError when the name is taken."""
        with self.transaction():
            if self.has_dot(dot):
                raise ExistsError(f"dot {dot} exists already")
            now = datetime.now(UTC).isoformat()
            self._write("INSERT INTO dots (name, created, current, owner) VALUES (?, ?, ?, ?)", dot, now, worktree, owner)
            self.put_worktree(Worktree(dot, worktree, branch, None, tree=tree))

    def remove_dot(self, dot: DotName) -> None:
        """Forget a dot and everything that belongs to it. Idempotent."""
        with self.transaction():
            for table in ("settled", "refs", "commits", "worktrees", "reflog", "journal", "volumes"):
                self._write(f"DELETE FROM {table} WHERE dot = ?", dot)  # noqa: S608 (names from the line above)
            self._write("DELETE FROM dots WHERE name = ?", dot)

    def current(self, dot: DotName) -> WorktreeName:
        """The worktree that the dot's volumes follow. NotFoundError when there is no such dot."""
        rows = self._all("SELECT current FROM dots WHERE name = ?", dot)
        if not rows:
            raise _no_dot(dot)
        return WorktreeName(rows[0][0])

    def set_current(self, dot: DotName, worktree: WorktreeName) -> None:
        """Have the dot's volumes follow a worktree."""
        self._write("UPDATE dots SET current = ? WHERE name = ?", worktree, dot)

    # Commits

    def add_commit(self, commit: Commit) -> None:
        """Register a published commit."""
        document = json.dumps(to_plain(commit), separators=(",", ":"))
        self._write("INSERT INTO commits VALUES (?, ?, ?, ?)", commit.dot, commit.id, commit.created.isoformat(), document)

    def replace_commit(self, commit: Commit) -> None:
        """Write down anew what is known of a commit; what it holds never changes."""
        document = json.dumps(to_plain(commit), separators=(",", ":"))
        self._write("UPDATE commits SET document = ? WHERE dot = ? AND id = ?", document, commit.dot, commit.id)

    def remove_commits(self, dot: DotName, commit_ids: Iterable[CommitId]) -> None:
        """Forget commits that no ref names. Idempotent."""
        with self.transaction():
            for commit_id in commit_ids:
                self._write("DELETE FROM commits WHERE dot = ? AND id = ?", dot, commit_id)

    def has_commit(self, commit_id: CommitId) -> bool:
        """Whether any dot has a commit of that id."""
        return bool(self._all("SELECT 1 FROM commits WHERE id = ?", commit_id))

    def commit(self, dot: DotName, commit_id: CommitId) -> Commit:
        """Return a commit; NotFoundError when the dot has none of that id."""
        rows = self._all("SELECT document FROM commits WHERE dot = ? AND id = ?", dot, commit_id)
        if not rows:
            raise NotFoundError(f"dot {dot} has no commit {commit_id}")
        return _decoded(Commit, rows[0][0])

    def commits(self, dot: DotName | None = None) -> list[Commit]:
        """All commits of a dot, or of the store, hidden ones too, oldest first."""
        rows = self._all("SELECT document FROM commits WHERE ? IS NULL OR dot = ? ORDER BY created, rowid", dot, dot)
        return [_decoded(Commit, document) for (document,) in rows]

    def commits_by_prefix(self, dot: DotName, prefix: str) -> list[CommitId]:
        """Ids that begin with `prefix` (hex digits), hidden commits too."""
        rows = self._all("SELECT id FROM commits WHERE dot = ? AND substr(id, 1, ?) = ? ORDER BY id", dot, len(prefix), prefix)
        return [CommitId(commit_id) for (commit_id,) in rows]

    # Refs

    def settled(self, dot: DotName) -> dict[CommitId, CommitId]:
        """The settled forms of a dot's commits, by commit. A row goes with either of the two."""
        rows = self._all("SELECT commit_id, form FROM settled WHERE dot = ?", dot)
        return {CommitId(commit_id): CommitId(form) for commit_id, form in rows}

    def set_settled(self, dot: DotName, commit_id: CommitId, form: CommitId) -> None:
        """Have a commit be the settled form of another."""
        self._write("INSERT OR REPLACE INTO settled VALUES (?, ?, ?)", dot, commit_id, form)

    def refs(self, dot: DotName, kind: str) -> dict[RefName, CommitId]:
        """All branches, tags or states that branches were left in (`kind`: branch, tag, uncommitted) of a dot by name, sorted."""
        rows = self._all("SELECT name, commit_id FROM refs WHERE dot = ? AND kind = ? ORDER BY name", dot, kind)
        return {RefName(name): CommitId(commit_id) for name, commit_id in rows}

    def ref(self, dot: DotName, kind: str, name: RefName) -> CommitId | None:
        """Return the commit that a ref of a kind names; None when there is no such ref."""
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
        """All worktrees of a dot by name. NotFoundError when there is no such dot."""
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
        """Create or replace a worktree; its head is the branch's."""
        self._write(
            "INSERT OR REPLACE INTO worktrees (dot, name, branch, places, project, tree) VALUES (?, ?, ?, ?, ?, ?)",
            *(worktree.dot, worktree.name, worktree.branch, json.dumps(dict(worktree.places)), worktree.project),
            int(worktree.tree),
        )

    def remove_worktree(self, dot: DotName, name: WorktreeName) -> None:
        """Forget a worktree and its reflog. Idempotent."""
        with self.transaction():
            self._write("DELETE FROM worktrees WHERE dot = ? AND name = ?", dot, name)
            self._write("DELETE FROM reflog WHERE dot = ? AND worktree = ?", dot, name)

    # Reflog

    def add_reflog(self, dot: DotName, worktree: WorktreeName, entry: ReflogEntry) -> None:
        """Append an entry; its number is given by the database."""
        self._write(
            "INSERT INTO reflog (dot, worktree, at, action, branch, old, new, saved, left) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(dot, worktree, entry.at.isoformat(), entry.action, entry.branch, entry.old, entry.new, entry.saved, entry.left),
        )

    def expire_reflog(self, dot: DotName, before: datetime) -> None:
        """Forget the entries of all worktrees of a dot that are older than an instant."""
        self._write("DELETE FROM reflog WHERE dot = ? AND at < ?", dot, before.astimezone(UTC).isoformat())

    def reflog(self, dot: DotName, worktree: WorktreeName) -> list[ReflogEntry]:
        """Entries of a worktree, newest first."""
        rows = self._all(
            "SELECT number, at, action, branch, old, new, saved, left FROM reflog WHERE dot = ? AND worktree = ?"
            " ORDER BY number DESC",
            *(dot, worktree),
        )
        names = ("number", "at", "action", "branch", "old", "new", "saved", "left")
        return [from_plain(ReflogEntry, dict(zip(names, row, strict=True))) for row in rows]

    # Journal

    def journal(self, dot: DotName | None = None) -> list[JournalEntry]:
        """Operations on a dot, or on any dot of the store, that have not said that they are over. The oldest comes first."""
        rows = self._all("SELECT document FROM journal WHERE ? IS NULL OR dot = ? ORDER BY rowid", dot, dot)
        return [_decoded(JournalEntry, document) for (document,) in rows]

    def journal_entry(self, entry_id: EntryId) -> JournalEntry | None:
        """Return an operation that has not said that it is over; None when it has, or when it never began."""
        rows = self._all("SELECT document FROM journal WHERE id = ?", entry_id)
        return _decoded(JournalEntry, rows[0][0]) if rows else None

    def put_journal(self, entry: JournalEntry) -> None:
        """Write down an operation, or its progress, before it touches anything; NotFoundError when there is no such dot."""
        if not self.has_dot(entry.dot):
            raise _no_dot(entry.dot)
        self._write("INSERT OR REPLACE INTO journal VALUES (?, ?, ?)", entry.id, entry.dot, json.dumps(to_plain(entry)))

    def remove_journal(self, entry_id: EntryId) -> None:
        """Say that an operation is over. Idempotent."""
        self._write("DELETE FROM journal WHERE id = ?", entry_id)

    # Settings and registrations

    def settings(self) -> dict[str, str]:
        """All settings of the store, by name."""
        return dict(self._all("SELECT name, value FROM settings ORDER BY name"))

    def set_setting(self, name: str, value: str | None) -> None:
        """Change a setting, or forget it (None)."""
        if value is None:
            self._write("DELETE FROM settings WHERE name = ?", name)
        else:
            self._write("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)

    def volumes(self) -> dict[str, DotName]:
        """The names by which Docker knows volumes of dots, sorted, and their dots."""
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
        """The known sha256 digests (hex) of a batch's objects and manifests, by id."""
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
        """What SQLite itself finds wrong with the file, nothing for a good one."""
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
