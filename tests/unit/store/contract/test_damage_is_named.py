"""Damage to a store is named, and nothing is begun anew."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE
from dm_compose.errors import (
    DamagedError,
    StoreError,
)
from dm_compose.state.schema import SCHEMA_VERSION
from dm_compose.store.local.store import LocalStore
from tests.support.processes import run_python
from tests.support.stores import DATA, DOT, Bench, Stores
from tests.support.subdots import LOGS, change_everything, check, directories, path_of, trees, where


def test_a_store_of_a_newer_version_is_refused_and_not_touched(stores: Stores, fast_path: Path) -> None:
    stores.bench(fast_path / "store", **directories(fast_path)).commit()
    stores.close()
    with contextlib.closing(sqlite3.connect(fast_path / "store/state.db")) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = (fast_path / "store/state.db").read_bytes()
    with pytest.raises(StoreError, match=f"newer version of dm-compose .*format {SCHEMA_VERSION + 1}") as caught:
        stores.open(fast_path / "store")
    assert caught.value.hint is not None
    assert "Upgrade" in caught.value.hint
    assert (fast_path / "store/state.db").read_bytes() == before


_OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from dm_compose.core.names import DotName
from dm_compose.errors import DmError
from dm_compose.store.local.store import LocalStore
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    LocalStore(Path(sys.argv[1])).create_dot(DotName("mine"))
    print("opened")
except DmError as error:
    print(type(error).__name__, error.message, "|", error.hint)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("state", ["missing", "unreadable", "readable", "half"])
def test_a_store_that_we_may_not_write_to_is_an_error_that_says_so(fast_path: Path, state: str) -> None:
    root = fast_path / "store"
    fast_path.chmod(0o755)
    if state != "missing":
        LocalStore(root).close()
    if state in ("readable", "half"):
        for path in (root, *root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    if state == "half":
        root.chmod(0o777)
    said = run_python(_OPEN_AS_NOBODY, str(root)).stdout
    assert said.startswith("StoreError"), said
    assert str(fast_path) in said


@pytest.mark.parametrize("kind", ["text", "zeros", "header", "pages", "directory"])
def test_a_damaged_database_is_an_error_and_not_an_empty_store(local: Stores, fast_path: Path, kind: str) -> None:
    bench = local.bench(fast_path / "store", **directories(fast_path))
    bench.commit()
    local.close()
    path = fast_path / "store/state.db"
    size = path.stat().st_size
    if kind == "text":
        path.write_bytes(b"this is no database. " * 1000)
    elif kind == "zeros":
        path.write_bytes(bytes(size))
    elif kind == "header":
        path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])
    elif kind == "pages":
        path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (size - 4096))
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(StoreError) as caught:
        local.open(fast_path / "store").worktree(DOT, MAIN_WORKTREE)
    if kind != "directory":
        assert isinstance(caught.value, DamagedError)
    assert "database" in caught.value.message or "store" in caught.value.message


@pytest.mark.parametrize("damage", ["emptied", "deleted"])
def test_a_lost_database_beside_commits_is_damage_and_not_a_new_store(local: Stores, fast_path: Path, damage: str) -> None:
    local.bench(fast_path / "store", **directories(fast_path)).commit()
    local.close()
    path = fast_path / "store/state.db"
    path.write_bytes(b"") if damage == "emptied" else path.unlink()
    with pytest.raises(DamagedError, match=r"state\.db"):
        local.open(fast_path / "store")


@pytest.mark.parametrize("document", ["", "{}", "[]", "not json", '{"id": 5}'])
def test_a_garbled_document_in_the_database_is_damage(own: Bench, fast_path: Path, document: str) -> None:
    commit = own.commit()
    own.store.begin_session(DOT, MAIN_WORKTREE, commit)
    with contextlib.closing(sqlite3.connect(fast_path / "store/state.db")) as database:
        database.execute("UPDATE commits SET document = ?", (document,))
        database.execute("UPDATE journal SET document = ?", (document,))
        database.commit()
    with pytest.raises(DamagedError):
        own.store.commit(DOT, commit)
    with pytest.raises(DamagedError):
        own.store.unfinished(DOT)


def test_a_missing_object_is_named(bench: Bench, fast_path: Path) -> None:
    commit = bench.commit()
    change_everything(bench)
    objects = fast_path / "store/objects" / commit
    for path in objects.iterdir():
        if path.suffix != ".manifest":
            path.unlink()
    with pytest.raises(DamagedError, match=f"object {commit}/"):
        bench.restore(commit)
    with pytest.raises(DamagedError, match=f"object {commit}/"):
        bench.store.diff_live(*where(bench), commit, {}, None)


GARBLED = {
    "missing": None,
    "empty": b"",
    "text": b"not json",
    "not utf-8": b"\xff\xfe",
    "object": b"{}",
    "list": b"[]",
    "number": b"7",
    "newer": b'{"format":2,"entries":[]}',
    "no root": b'{"format":1,"entries":[]}',
    "short rows": b'{"format":1,"entries":[["","d"]]}',
    "odd rows": b'{"format":1,"entries":[7]}',
    "odd attributes": b'{"format":1,"entries":[["","d",0,0,0,0,0,"",[["one"]]]]}',
}


@pytest.mark.parametrize("data", GARBLED.values(), ids=GARBLED)
def test_a_garbled_manifest_is_damage_and_keeps_nobody_from_saving_what_is_there(
    own: Bench, fast_path: Path, data: bytes | None
) -> None:
    bench = own
    good = bench.commit()
    first = trees(bench)
    change_everything(bench)
    bad = bench.commit()
    for subdot in (DATA, LOGS):
        manifest = fast_path / "store/objects" / bench.store.commit(DOT, bad).subdots[subdot].manifest
        manifest.unlink() if data is None else manifest.write_bytes(data)
    (path_of(bench) / "precious").write_bytes(b"work of today")
    wanted = trees(bench)

    with pytest.raises(DamagedError, match=f"{bad}/"):
        bench.restore(bad)
    check(bench, wanted)
    assert bench.restore(good)
    check(bench, first)

    (path_of(bench) / "precious").write_bytes(b"work of today")
    wanted = trees(bench)
    commit_id, _ = bench.capture()
    assert DATA in bench.store.captured_changes(commit_id, {})
    saved = bench.publish(commit_id)
    (path_of(bench) / "precious").unlink()
    bench.restore(saved)
    check(bench, wanted)


def test_a_garbled_manifest_and_no_index_keep_nobody_from_saving_what_is_there(own: Bench, fast_path: Path) -> None:
    bad = own.commit()
    (fast_path / "store/objects" / own.store.commit(DOT, bad).subdots[DATA].manifest).write_bytes(b"")
    shutil.rmtree(fast_path / "store/index")
    wanted = trees(own)
    saved = own.commit()
    (path_of(own) / "one").unlink()
    own.restore(saved)
    check(own, wanted)


def test_a_missing_object_and_no_index_keep_nobody_from_saving_what_is_there(own: Bench, fast_path: Path) -> None:
    bad = own.commit()
    for path in (fast_path / "store/objects" / bad).iterdir():
        if path.suffix != ".manifest":
            path.unlink()
    shutil.rmtree(fast_path / "store/index")
    wanted = trees(own)
    saved = own.commit()
    (path_of(own) / "one").unlink()
    own.restore(saved)
    check(own, wanted)
