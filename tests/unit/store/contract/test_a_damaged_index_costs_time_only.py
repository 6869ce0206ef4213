"""A damaged index costs comparing and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.events import Event
from dm_compose.core.names import MAIN_WORKTREE, CommitId
from dm_compose.store.local.store import LocalStore
from tests.support.stores import DATA, DOT, Bench, Stores
from tests.support.subdots import change_everything, check, directories, garble, path_of, trees


def index_files(root: Path) -> list[Path]:
    return sorted((root / "index").rglob("*.index"))


def truths(bench: Bench) -> list[tuple[CommitId, Any]]:
    """Make commits that share most files; return what each holds."""
    states = []
    for number in range(3):
        (path_of(bench) / "one").write_bytes(b"%d" % number * 10_000)
        states.append((bench.commit(), trees(bench)))
    return states


INDEX_DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"not json"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "bytes": garble,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "list": lambda path: path.write_bytes(b"[]"),
    "newer": lambda path: path.write_bytes(b'{"format":99,"rows":[]}'),
    "rows": lambda path: path.write_bytes(b'{"format":1,"rows":[7,[],["x"],{}]}'),
    "directory": lambda path: (path.unlink(), path.mkdir()),
    "tree": lambda path: shutil.rmtree(path.parent, ignore_errors=True),
}


@pytest.mark.parametrize("damage", INDEX_DAMAGE.values(), ids=INDEX_DAMAGE)
def test_a_damaged_index_costs_comparing_and_nothing_else(
    local: Stores, fast_path: Path, damage: Callable[[Path], object]
) -> None:
    bench = local.bench(fast_path / "store", **directories(fast_path))
    states = truths(bench)
    for path in index_files(fast_path / "store"):
        if path.exists():
            damage(path)
    again = local.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
    entry, copied_bytes = again.capture()
    states.append((again.publish(entry), states[-1][1]))
    for commit, wanted in states + states[::-1]:
        again.restore(commit)
        check(again, wanted)
    assert copied_bytes == 0, "what did not change is compared and not copied again"


def test_no_single_changed_byte_of_an_index_makes_a_wrong_commit(local: Stores, fast_path: Path) -> None:
    """An index vouches for contents: one that says something else than was written must not be believed."""
    bench = local.bench(fast_path / "store", **directories(fast_path))
    truths(bench)
    (path,) = [p for p in index_files(fast_path / "store") if p.name.startswith("data")]
    good = path.read_bytes()
    wrong = []
    head = bench.head
    assert head is not None
    known = {p: f.entry.ref for p, f in LocalStore(fast_path / "store")._known(DOT, MAIN_WORKTREE, DATA).items()}
    for position in range(len(good)):
        for other in (b"1", b"a"):
            if good[position : position + 1] != other:
                path.write_bytes(good[:position] + other + good[position + 1 :])
                store = LocalStore(fast_path / "store")
                refs = {p: f.entry.ref for p, f in store._indexes.load((DOT, MAIN_WORKTREE, DATA)).items()}
                store.close()
                if refs and refs != known:
                    wrong.append((position, other))
    assert wrong == []


def test_an_index_of_an_older_state_costs_comparing_and_nothing_else(local: Stores, fast_path: Path) -> None:
    bench = local.bench(fast_path / "store", **directories(fast_path))
    first = bench.commit()
    old = trees(bench)
    shutil.copytree(fast_path / "store/index", fast_path / "old index")
    change_everything(bench)
    second = bench.commit()
    new = trees(bench)
    for target, wanted in ((second, new), (first, old), (second, new)):
        shutil.rmtree(fast_path / "store/index")
        shutil.copytree(fast_path / "old index", fast_path / "store/index")
        again = local.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
        third = again.commit()
        again.restore(target)
        check(again, wanted)
        again.restore(third)
        again.restore(target)
        check(again, wanted)


def test_an_index_that_cannot_be_written_is_told_and_costs_nothing_else(stores: Stores, fast_path: Path) -> None:
    events: list[Event] = []
    bench = Bench(stores.open(fast_path / "store", events.append), **directories(fast_path))
    (fast_path / "store/index").write_bytes(b"a file where the directory should be")
    commit = bench.commit()
    wanted = trees(bench)
    assert any(e.what == "warning" and "index" in e.text for e in events)
    (path_of(bench) / "one").write_bytes(b"x")
    bench.restore(commit)
    check(bench, wanted)
