"""Try whether many processes can use one store at once: random verbs on three dots, in a folder and without an engine.

The program ends with an error if a command does not end in time, if a commit that a command has told of is lost, if a command
ends in a way that docs/cli.md does not explain, or if `fsck` finds damage.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from benchmarks.common import headline, table
from dm_compose.cli import dm_group
from dm_compose.cli.main import dm
from dm_compose.core.names import DotName
from dm_compose.store.local.store import LocalStore

DOTS = ("shop", "blog", "wiki")
BRANCHES = ("master", "one", "two", "three")
SEED = "seed"
FINE = {0, 5, 7, 8, 15, 16}  # done; no such thing; uncommitted; in use; the name is taken; diverged
KEEP_DAYS = 30
POLL_S = 0.005
LAST_WORDS_S = 3.0


@dataclass
class Ended:
    """A command that has ended, or was killed after its time. `took_s` includes all waits for locks."""

    words: tuple[str, ...]
    code: int | None
    output: str
    took_s: float


@dataclass
class Findings:
    """The outcome: commands by verb and exit code, and everything that should not be."""

    codes: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    commits: int = 0
    wrong: list[str] = field(default_factory=list)


def run_dm(words: Sequence[str], output: Path, limit_s: float) -> Ended:
    """Run `dm` in a process of its own, forked from this one. After `limit_s` it shows where it stands, and is killed."""
    began = time.monotonic()
    output.write_bytes(b"")  # the child may be killed before it opens this
    child = os.fork()
    if child == 0:
        _be_dm(words, output)
    code: int | None = None
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() - began > limit_s:
            os.kill(child, signal.SIGUSR1)
            time.sleep(LAST_WORDS_S)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(POLL_S)
    return Ended(tuple(words), code, output.read_text(errors="replace"), time.monotonic() - began)


def _be_dm(words: Sequence[str], output: Path) -> None:
    code = 99
    try:
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
        try:
            dm(list(words))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


class Worker:
    """One of the processes: runs one random command after the other, and writes down what it was told."""

    def __init__(self, number: int, home: Path, seed: int, limit_s: float) -> None:
        self.number = number
        self.directory = home.parent / f"worker-{number}"
        self.directory.mkdir()
        self.home, self.limit_s = home, limit_s
        self.chance = Random(f"{seed} {number}")
        self.done = 0

    def run(self, until: float) -> None:
        with (self.directory / "ended.jsonl").open("w") as ended:
            while not self.done or time.time() < until:  # one command at least, however slow the machine is
                dot, words = self._choose()
                found = run_dm(words, self.directory / "output", self.limit_s)
                told = found.output.strip() if found.code == 0 and "commit" in words[:3] else ""
                fine = found.code in FINE
                line = [" ".join(words), found.code, round(found.took_s, 3), dot, told, "" if fine else found.output[-4000:]]
                ended.write(json.dumps(line) + "\n")
                ended.flush()
                self.done += 1

    def _choose(self) -> tuple[str, tuple[str, ...]]:
        dot = self.chance.choice(DOTS)
        (verb,) = self.chance.choices(list(VERBS), [weight for weight, _ in VERBS.values()])
        return dot, VERBS[verb][1](self, dot)

    def commit(self, dot: str) -> tuple[str, ...]:
        with contextlib.suppress(OSError):  # a checkout of somebody else's moves the files
            place = self.home / "trees" / dot / ".current" / "__default__"
            (place / f"file-{self.chance.randrange(20)}").write_text(f"{self.number} {self.done} " * 200)
        return ("--dot", dot, "commit", "-m", f"{self.number}-{self.done}")

    def branch(self) -> str:
        return self.chance.choice(BRANCHES)

    def copy(self) -> str:
        return f"copy-{self.chance.randrange(3)}"


VERBS: dict[str, tuple[int, Callable[[Worker, str], tuple[str, ...]]]] = {
    "commit": (8, lambda w, d: w.commit(d)),
    "reset": (3, lambda w, d: ("--dot", d, "reset", "--hard", w.chance.choice(("HEAD", "HEAD^", w.branch())))),
    "reset, careful": (1, lambda _, d: ("--dot", d, "reset", "HEAD^")),
    "undo": (1, lambda _, d: ("--dot", d, "undo")),
    "checkout": (3, lambda w, d: ("--dot", d, "checkout", w.branch())),
    "checkout -b": (1, lambda w, d: ("--dot", d, "checkout", "-b", w.branch())),
    "branch -d": (1, lambda w, d: ("--dot", d, "branch", "-d", w.branch())),
    "tag": (1, lambda w, d: ("--dot", d, "tag", f"v{w.chance.randrange(10**6)}")),
    "status": (2, lambda _, d: ("--dot", d, "status")),
    "log": (1, lambda _, d: ("--dot", d, "log")),
    "diff": (1, lambda _, d: ("--dot", d, "diff")),
    "list": (2, lambda _, __: ("list",)),
    "push": (1, lambda _, d: ("--dot", d, "push", "hub")),
    "pull": (1, lambda _, d: ("--dot", d, "pull", "hub")),
    "clone": (2, lambda w, _: ("clone", "hub", f"admin/{SEED}", "--local-name", w.copy())),
    "dot delete": (2, lambda w, _: ("dot", "delete", "-f", w.copy())),
    "gc": (1, lambda _, __: ("gc", "-y")),
    "fsck": (1, lambda _, __: ("fsck",)),
}


@contextlib.contextmanager
def made_store(base: Path) -> Iterator[Path]:
    """Make a store with three dots, each with a commit, and a remote `hub` with the dot `seed`. Yield its directory."""
    home = base / "store"
    os.environ.update(DM_HOME=str(home), DOCKER_HOST="unix:///nonexistent/docker.sock", XDG_STATE_HOME=str(base / "state"))
    (base / "hub").mkdir()
    steps: list[tuple[str, ...]] = [("remote", "add", "hub", str(base / "hub"))]
    for dot in (SEED, *DOTS):
        steps += [("init", dot), ("--dot", dot, "commit", "-m", "first")]
    steps += [("--dot", SEED, "push", "hub"), ("dot", "delete", "-f", SEED)]
    for words in steps:
        if "commit" in words:
            place = home / "trees" / words[1] / ".current" / "__default__"
            place.mkdir(parents=True, exist_ok=True)
            (place / "big").write_bytes(os.urandom(200_000))
        ended = run_dm(words, base / "output", 60)
        if ended.code:
            raise RuntimeError(f"{' '.join(words)} -> {ended.code}: {ended.output}")
    yield home


def run_workers(home: Path, processes: int, minutes: float, seed: int, limit_s: float) -> list[Worker]:
    """Have so many processes work for so long, and return when all have ended."""
    workers = [Worker(number, home, seed, limit_s) for number in range(processes)]
    until, children = time.time() + minutes * 60, []
    for worker in workers:
        child = os.fork()
        if child == 0:
            try:
                worker.run(until)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return workers


def check(home: Path, workers: Sequence[Worker], limit_s: float) -> Findings:
    """Look at what the commands told, and at what the store has."""
    found = Findings()
    told: list[tuple[str, str]] = []
    for worker in workers:
        for line in (worker.directory / "ended.jsonl").read_text().splitlines():
            words, code, took_s, dot, commit, output = json.loads(line)
            verb = next((word for word in words.split() if word in dm_group.cli.commands), words)
            found.codes[f"{verb} {'killed' if code is None else code}"] += 1
            found.longest_s = max(found.longest_s, took_s)
            if code is None:
                found.wrong.append(f"dm {words} had not ended after {limit_s:.0f} s: {output}")
            elif code not in FINE:
                found.wrong.append(f"dm {words} -> {code}: {output}")
            if commit:
                told.append((dot, commit))
    found.commits = len(told)
    store = LocalStore(home)
    try:
        lost = set(store.garbage(datetime.now(UTC) - timedelta(days=KEEP_DAYS)).commits)
        known = {(dot, c.id) for dot in DOTS for c in store._database.commits(DotName(dot))}
        for dot, commit in told:
            if (dot, commit) not in known or commit in lost:
                found.wrong.append(f"commit {commit} of {dot} is lost: {'nothing names it' if commit in lost else 'it is gone'}")
        checkup = store.check({}, repair=False)
        found.wrong += [f"damage: {damage.where}: {damage.what}" for damage in checkup.damage]
        found.wrong += [f"unfinished: {entry}" for dot in store.dots() for entry in store.unfinished(dot)]
    finally:
        store.close()
    return found


def run_mixed(base: Path, processes: int, minutes: float, seed: int = 0, limit_s: float = 300.0) -> Findings:
    """Do all of it below a directory that is empty, and return what was found."""
    with made_store(base) as home:
        return check(home, run_workers(home, processes, minutes, seed, limit_s), limit_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no further command after so long (default 10)")
    parser.add_argument("--processes", type=int, default=20, help="processes at once (default 20)")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds that a command may take (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default 0)")
    options = parser.parse_args()
    headline(f"{options.processes} processes with random verbs on one store with three dots")
    with tempfile.TemporaryDirectory(prefix="dm-mixed-") as base:
        found = run_mixed(Path(base), options.processes, options.minutes, options.seed, options.limit)
    verbs: dict[str, list[str]] = {}
    for key, count in sorted(found.codes.items()):
        verb, _, code = key.rpartition(" ")
        verbs.setdefault(verb, []).append(f"{code}: {count}")
    table(("verb", "exit codes"), [(verb, ", ".join(codes)) for verb, codes in verbs.items()])
    commands = sum(found.codes.values())
    print(
        f"{commands} commands, the longest took {found.longest_s:.1f} s; {found.commits} commits told; wrong: {len(found.wrong)}"
    )
    for wrong in found.wrong[:20]:
        print(f"VIOLATION: {wrong}", flush=True)
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
