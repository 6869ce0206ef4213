"""Kill commands of ours at random moments while a user's client writes, and look for every write that was acknowledged.

Each must be in the live state, or in a commit that the reflog names, which is what `undo` and `reset` bring back. The program
ends with an error if one is in neither.

Acknowledged means: Postgres has answered an INSERT (with its usual synchronous commit), and Redis a SET (with an append-only
file that is synced at each write). A command is killed by SIGKILL, SIGTERM or SIGINT, alone or with its whole process group. The
client goes on writing meanwhile. While pytest has the stack the client writes nothing, because tests throw their state away; it
goes on as soon as pytest is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import redis

from benchmarks.common import headline, table
from tests.support.projects import Run, TestProject, eventually, project_in, sweep_dead_runs

DOCUMENT: dict[str, Any] = {
    "services": {
        "db": {
            "image": "dm-example/postgres:15",
            "pull_policy": "never",
            "environment": {"POSTGRES_PASSWORD": "webapp"},
            "volumes": ["db-data:/var/lib/postgresql/data"],
        },
        "cache": {
            "image": "dm-example/redis:7.0",
            "pull_policy": "never",
            "command": ["redis-server", "--appendonly", "yes", "--appendfsync", "always"],
            "volumes": ["cache-data:/data"],
        },
    },
    "volumes": {"db-data": {}, "cache-data": {}},
}
TESTS = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_writes(dm_stack, n):
    assert not dm_stack.exec("db", "psql", "-U", "postgres", "-c", f"insert into written values (-{n + 1})").exit_code
    assert not dm_stack.exec("cache", "redis-cli", "set", "of-a-test", str(n)).exit_code
"""
END_S = 170.0
ANSWER_S = 120.0
NAMED = 12  # so many of the newest commits that the reflog names are looked into
PAUSE_S = 0.01
SIGNALS = {signal.SIGKILL: 6, signal.SIGTERM: 2, signal.SIGINT: 2}
FAILED = (OSError, psycopg.Error, redis.RedisError, AssertionError, ValueError, KeyError, StopIteration, AttributeError)


class LostError(AssertionError):
    """An acknowledged write that is nowhere. The message says which, and what had been killed."""


class Client:
    """A user's client: writes numbered rows, or keys, and notes those that were acknowledged. One thread."""

    def __init__(self, project: TestProject, service: str) -> None:
        self.project, self.service = project, service
        self.acknowledged: list[int] = []
        self.at: dict[int, float] = {}  # when each was acknowledged
        self._number = 0
        self._going, self._idle, self._end = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go(self) -> None:
        """Write from now on."""
        self._idle.clear()
        self._going.set()

    def pause(self) -> None:
        """Write no more, and return when the last write has been answered or has failed."""
        self._going.clear()
        if not self._idle.wait(ANSWER_S):
            raise RuntimeError(f"the client of {self.service} got no answer within {ANSWER_S:.0f} s")

    def close(self) -> None:
        self._end.set()
        self._going.set()
        self._thread.join(ANSWER_S)

    def await_one(self) -> None:
        """Return when a write has been acknowledged that began after this call."""
        seen = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) > seen + 1, f"{self.service} to acknowledge a write", timeout_s=ANSWER_S)

    def _run(self) -> None:
        while not self._end.is_set():
            if not self._going.wait(0.05):
                self._idle.set()
                continue
            try:
                with contextlib.closing(self._connect()) as connection:
                    while self._going.is_set() and not self._end.is_set():
                        self._number += 1
                        self._write(connection, self._number)
                        self.at[self._number] = time.monotonic()
                        self.acknowledged.append(self._number)
                        time.sleep(PAUSE_S)
            except FAILED:
                time.sleep(0.05)
        self._idle.set()

    def _connect(self) -> Any:
        raise NotImplementedError

    def _write(self, connection: Any, number: int) -> None:
        raise NotImplementedError

    def seen(self) -> set[int]:
        """Return the numbers that are in the live state."""
        raise NotImplementedError


class PostgresClient(Client):
    def _connect(self) -> Any:
        connection = psycopg.connect(
            host=self.project.address("db"), user="postgres", password="webapp", autocommit=True, connect_timeout=5
        )
        connection.execute("create table if not exists written (n int primary key)")
        return connection

    def _write(self, connection: Any, number: int) -> None:
        connection.execute("insert into written values (%s)", [number])

    def seen(self) -> set[int]:
        with contextlib.closing(eventually(self._connect, "postgres", timeout_s=ANSWER_S)) as connection:
            return {n for (n,) in connection.execute("select n from written")}


class RedisClient(Client):
    def _connect(self) -> Any:
        return redis.Redis(self.project.address("cache"), decode_responses=True, socket_timeout=30, socket_connect_timeout=5)

    def _write(self, connection: Any, number: int) -> None:
        connection.set(f"written-{number}", "x")

    def seen(self) -> set[int]:
        def look() -> set[int] | None:
            with contextlib.closing(self._connect()) as connection:
                connection.ping()
                return {0, *(int(key.partition("-")[2]) for key in connection.scan_iter("written-*", count=10_000))}

        return (eventually(look, "redis", timeout_s=ANSWER_S) or set()) - {0}


@dataclass
class Tally:
    """Counts of what was done. `looked` are the commits that were put back to find writes that were not live any more."""

    rounds: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    looked: int = 0
    acknowledged: int = 0


class Victim:
    """The stack, its client, and the verbs that are killed."""

    def __init__(self, project: TestProject, directory: Path, seed: int) -> None:
        self.project, self.directory, self.chance = project, directory, Random(seed)
        self.clients: tuple[Client, ...] = (PostgresClient(project, "db"), RedisClient(project, "cache"))
        self.safe = [0 for _ in self.clients]  # so many of the acknowledged writes have been found
        self.tally = Tally()
        self.guesses_s: dict[str, float] = {}
        self.last = "nothing"
        self.happened: list[tuple[float, str]] = []  # in this round
        (directory / "test_kills.py").write_text(TESTS)
        (directory / "pytest.ini").write_text(f"[pytest]\ndm_file = {project.file}\n")

    def begin(self) -> None:
        self.project.dm("up", "-d")
        self._go()
        self._await_acknowledged()
        self.project.dm("commit", "-m", "first")
        self._await_acknowledged()
        self.project.dm("commit", "-m", "second")

    def _go(self) -> None:
        for client in self.clients:
            client.go()

    def _pause(self) -> None:
        for client in self.clients:
            client.pause()

    def _await_acknowledged(self) -> None:
        for client in self.clients:
            client.await_one()

    # One round

    def commands(self) -> dict[str, list[list[str]]]:
        """Return the commands of each verb; of several any one may be killed."""
        branch = self.chance.choice(["one", "two", "master"])
        exists = branch in [b["name"] for b in self.project.json("branch")]
        verbs: dict[str, list[list[str]]] = {
            "commit": [["commit", "-m", "of a round"]],
            "reset": [["reset", "--hard", self.chance.choice(["HEAD", "HEAD^"])]],
            "checkout": [["checkout", branch] if exists else ["checkout", "-b", branch]],
            "undo": [["undo"]],
            "down -v, up": [["down", "-v"], ["up", "-d"]],
            "pytest": [],
            "gc": [["gc"]],
            "status": [["status"]],
        }
        return verbs

    def _note(self, what: str) -> None:
        self.happened.append((time.monotonic(), what))

    def round(self) -> None:
        self.happened.clear()
        commands = self.commands()
        (verb,) = self.chance.choices(list(commands), [3, 3, 2, 2, 1, 2, 1, 1])
        self.tally.rounds[verb] += 1
        if verb == "pytest":
            self._pause()
            words = [[sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(self.directory)]]
        elif verb == "gc":
            words = [["dm", "gc", "-y"]]
        else:
            words = [["dm-compose", "-f", str(self.project.file), "-p", self.project.name, *w] for w in commands[verb]]
        until = self.chance.uniform(0, 1.1) * self.guesses_s.get(verb, 4.0)
        began, kill = time.monotonic(), False
        for command in words:
            kill = self._run_and_kill(verb, command, max(0.0, until - (time.monotonic() - began)))
            if kill:
                break
        if not kill:
            self.guesses_s[verb] = time.monotonic() - began
        self._go()
        time.sleep(self.chance.uniform(0, 1.0))
        self._recover()
        self._check()

    def _run_and_kill(self, verb: str, command: Sequence[str], after_s: float) -> bool:
        self._note(f"begins {verb}")
        with open(self.directory / "output", "wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env={**os.environ, **self.project.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            code = process.wait(after_s)
            self.last = f"{verb}, which ended with {code} (not killed)"
            return False
        except subprocess.TimeoutExpired:
            pass
        (number,) = self.chance.choices(list(SIGNALS), list(SIGNALS.values()))
        whole = self.chance.random() < 0.6
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whole else os.kill)(process.pid, number)
        self._note(f"sent {number.name}")
        who = "its group" if whole else "its process"
        self.last = f"{verb}, killed by {number.name} ({who}) after {after_s:.2f} s"
        self.tally.killed[verb] += 1
        self.tally.signals[f"{number.name} {who}"] += 1
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise LostError(f"{self.last}: it has not ended {END_S:.0f} s later") from None
        self._note(f"{verb} has ended")
        return True

    # Afterwards

    def _recover(self) -> None:
        """Do as a user does: bring the stack up, see it answer, and commit or reset."""
        self._dm("up", "-d")
        if self.chance.random() < 0.3:
            self._dm("status")
        self._await_acknowledged()
        self._dm(*self.chance.choice([("commit", "-m", "afterwards"), ("reset", "--hard", "HEAD"), ("commit", "-m", "again")]))

    def _dm(self, *words: str) -> str:
        self._note(f"begins {' '.join(words)}")
        done = self.project.dm(*words, check=False)
        self._note(f"ended {' '.join(words)}")
        if done.returncode:
            raise LostError(f"after {self.last}: `{' '.join(words)}` -> {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def _check(self) -> None:
        """Look for each write that was acknowledged since the last look: live, then in what the reflog names."""
        self._await_acknowledged()
        self._pause()
        missing = [set(c.acknowledged[safe:]) for c, safe in zip(self.clients, self.safe, strict=True)]
        self.tally.acknowledged += sum(map(len, missing))
        self._look(missing)
        reflog = self.project.json("reflog") if any(missing) else []
        named = dict.fromkeys(e[key] for e in reflog for key in ("saved", "new", "old") if e.get(key))
        for commit in list(named)[:NAMED]:  # the newest first; what was acknowledged before the last look needs none of them
            if not any(missing):
                break
            self._dm("reset", "--hard", commit)
            self.tally.looked += 1
            self._look(missing)
        if any(missing):
            raise LostError(
                f"after {self.last}: {self._words(missing)} are neither live nor in what reflog names{self._story(missing)}"
            )
        self.safe = [len(client.acknowledged) for client in self.clients]
        self._go()

    def _look(self, missing: list[set[int]]) -> None:
        for client, numbers in zip(self.clients, missing, strict=True):
            if numbers:
                numbers -= client.seen()

    def _story(self, missing: Sequence[set[int]]) -> str:
        """Return what happened in this round, with the lost writes and the commands' own output, in the order of time."""
        story = list(self.happened)
        for client, numbers in zip(self.clients, missing, strict=True):
            story += [(client.at[n], f"write {n} of {client.service} was acknowledged") for n in sorted(numbers)[:20]]
        began = min(at for at, _ in story)
        lines = [f"{at - began:8.3f} s  {what}" for at, what in sorted(story)]
        return "\n".join(["", *lines, (self.directory / "output").read_text(errors="replace")])

    def _words(self, missing: Sequence[set[int]]) -> str:
        found = zip(self.clients, missing, strict=True)
        return "; ".join(f"{len(n)} writes of {c.service} ({min(n)} to {max(n)})" for c, n in found if n)

    def close(self) -> None:
        for client in self.clients:
            client.close()


@contextlib.contextmanager
def victim(base: Path, run: Run, seed: int) -> Iterator[Victim]:
    """Make the stack, bring it up and commit it twice; remove it in the end."""
    for project in project_in(base / "project", run, "kills", DOCUMENT):
        (base / "tests").mkdir()
        made = Victim(project, base / "tests", seed)
        try:
            made.begin()
            yield made
        finally:
            made.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="commands to kill, or to see end (default 1000)")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no further round after so long (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default 0)")
    parser.add_argument("--verbose", action="store_true", help="print a line for each round")
    parser.add_argument("--go-on", action="store_true", help="count losses, and go on after one")
    options = parser.parse_args()
    headline("commands that are killed while a client writes")
    sweep_dead_runs()
    run, began, lost = Run(), time.monotonic(), list[str]()
    try:
        with tempfile.TemporaryDirectory(prefix="dm-kills-") as base, victim(Path(base), run, options.seed) as found:
            for number in range(options.rounds):
                if time.monotonic() > began + options.minutes * 60:
                    break
                try:
                    found.round()
                except LostError as error:
                    lost.append(f"round {number}: {error}")
                    print(f"LOST: {lost[-1]}", flush=True)
                    if not options.go_on:
                        break
                    found.safe = [len(client.acknowledged) for client in found.clients]
                if options.verbose:
                    print(f"round {number}: {found.last}", flush=True)
            tally = found.tally
    finally:
        run.finish()
    rounds, killed, took_s = sum(tally.rounds.values()), sum(tally.killed.values()), time.monotonic() - began
    print(f"{rounds} rounds in {took_s:.0f} s, {killed} killed; {tally.acknowledged} writes acknowledged, lost = {len(lost)}")
    print(f"signals: {', '.join(f'{name} {count}' for name, count in sorted(tally.signals.items()))}")
    print(f"{tally.looked} commits of the reflog put back to find what was not live any more\n")
    table(("verb", "rounds", "killed"), [(v, str(n), str(tally.killed[v])) for v, n in sorted(tally.rounds.items())])
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
