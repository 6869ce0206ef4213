"""Files are copied while writers run until little is left, so that the stack stands still for little."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dm_compose.core.events import Event
from dm_compose.objects.batch import Batch
from dm_compose.store.local import committing
from dm_compose.store.local.store import LocalStore
from tests.support.stores import Bench

TICK_S = 0.02  # more than one of the file clock, so that no stamp is racy


class Writer:
    """Writes to a file of the tree each time that a round of copying has copied something. It collects the warnings."""

    def __init__(self, file: Path, times: int) -> None:
        self.file, self.left = file, times
        self.warnings: list[str] = []

    def __call__(self, event: Event) -> None:
        if event.what == "warning":
            self.warnings.append(event.text)
        elif event.what == "copy" and not event.total and self.left:
            self.left -= 1
            self.file.write_bytes(b"%d" % self.left * 100_000)
            time.sleep(TICK_S)


def prepared(base: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> tuple[Bench, Writer, Callable[[], list[str]]]:
    """Commit a tree whose writer writes so many times. Return also what was copied or updated while nobody could write."""
    monkeypatch.setattr(committing, "LITTLE_S", 0.0)  # each round has taken long
    tree = base / "tree"
    tree.mkdir()
    (tree / "still").write_bytes(b"still" * 20_000)
    writer = Writer(tree / "busy", times)
    bench = Bench(LocalStore(base / "store", writer), data=tree)
    time.sleep(TICK_S)
    entry = bench.prepare()
    late = []
    with monkeypatch.context() as frozen:
        for name in ("add", "update"):
            original = getattr(Batch, name)

            def noted(*args: object, original: Callable[..., str] = original, **kwargs: object) -> str:
                late.append(original(*args, **kwargs))
                return late[-1]

            frozen.setattr(Batch, name, noted)
        bench.store.capture(entry)
    wanted = (tree / "busy").read_bytes()
    commit = bench.publish(entry)
    (tree / "busy").write_bytes(b"later")
    bench.restore(commit)
    assert (tree / "busy").read_bytes() == wanted
    return bench, writer, lambda: late


def test_rounds_go_on_until_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, writer, late = prepared(tmp_path, monkeypatch, 2)
    assert (writer.left, writer.warnings, late()) == (0, [], [])
    bench.store.close()


def test_it_is_said_if_what_is_left_never_gets_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, writer, late = prepared(tmp_path, monkeypatch, 1000)
    assert len(writer.warnings) == 1
    assert f"after each of {committing.ROUNDS} copies" in writer.warnings[0]
    assert len(late()) == 1
    bench.store.close()
