"""Data directories of real servers, made by Debian's packages run as ordinary processes: no engine is needed.

`available()` says which servers this machine has. Data is what an application's would be: pgbench's tables, and a shop with
names, numbers and texts, seeded so that every run makes the same rows.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PGBENCH_SCALE = 16  # 240 MB of tables and indexes
ORDERS = 900_000  # rows of MariaDB's larger table, 200 MB
_POSTGRES_BIN = next((str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), "")


def available() -> dict[str, str]:
    """Return, for each server, "yes" or what is missing."""
    found = {"postgres": "yes" if _POSTGRES_BIN else "no postgresql (Debian: postgresql)"}
    found["mariadb"] = "yes" if shutil.which("mariadbd") else "no mariadbd (Debian: mariadb-server-core)"
    if os.geteuid() != 0:
        found = dict.fromkeys(found, "not root")
    return found


def _places(rows: int, of: int, seed: int) -> list[int]:
    """Return `rows` keys of a table of `of`, spread over it, the same ones for the same seed."""
    return [1 + (seed * 7919 + n * 104729) % of for n in range(rows)]


def _as_user(user: str, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups", *command],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "HOME": "/nonexistent"},
        **options,
    )


class Postgres:
    """PostgreSQL on a unix socket in its data directory."""

    user = "nobody"

    def __init__(self, data: Path) -> None:
        self.data = data

    def create(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        shutil.chown(self.data, self.user)
        _as_user(self.user, f"{_POSTGRES_BIN}/initdb", "-U", "postgres", "-D", str(self.data), "--no-sync", "-A", "trust")
        with self.running():
            _as_user(self.user, f"{_POSTGRES_BIN}/pgbench", *self._client, "-i", "-q", "-s", str(PGBENCH_SCALE), "postgres")

    @property
    def _client(self) -> list[str]:
        return ["-h", str(self.data), "-U", "postgres"]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        control = [f"{_POSTGRES_BIN}/pg_ctl", "-D", str(self.data), "-w", "-l", "/dev/null"]
        _as_user(self.user, *control, "-o", f"-k {self.data} -c listen_addresses=''", "start")
        try:
            yield
        finally:
            _as_user(self.user, *control, "-m", "fast", "stop")

    def update(self, rows: int, seed: int) -> None:
        """Change `rows` rows, each in a transaction of its own, at random places."""
        keys = _places(rows, PGBENCH_SCALE * 100_000, seed)
        statements = "".join(f"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = {key};\n" for key in keys)
        with self.running():
            _as_user(self.user, f"{_POSTGRES_BIN}/psql", "-q", *self._client, "postgres", input=statements)


class Mariadb:
    """MariaDB on a unix socket in its data directory."""

    user = "nobody"

    def __init__(self, data: Path) -> None:
        self.data = data
        self._socket = data / "server.sock"

    def create(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        shutil.chown(self.data, self.user)
        _as_user(
            self.user,
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.data}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )
        with self.running():
            self._run(
                f"""
                CREATE DATABASE shop; USE shop;
                CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(80), email VARCHAR(120), note TEXT, KEY (name));
                INSERT INTO customers SELECT seq, CONCAT('Customer ', md5(seq)), CONCAT(md5(seq * 3), '@example.org'),
                  REPEAT(CONCAT('Wants delivery after ', seq % 24, ' o''clock. '), seq % 7) FROM seq_1_to_200000;
                CREATE TABLE orders (id INT PRIMARY KEY, customer INT, placed DATETIME, total DECIMAL(9,2), state VARCHAR(20),
                  KEY (customer));
                INSERT INTO orders SELECT seq, 1 + seq * 7919 % 200000, '2026-01-01' + INTERVAL seq SECOND, seq % 99991 / 7,
                  ELT(1 + seq % 4, 'placed', 'paid', 'shipped', 'returned') FROM seq_1_to_{ORDERS};
                """
            )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        account = pwd.getpwnam(self.user)
        server = subprocess.Popen(
            [
                "mariadbd",
                "--no-defaults",
                f"--datadir={self.data}",
                f"--socket={self._socket}",
                "--skip-networking",
                f"--user={self.user}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "HOME": account.pw_dir},
        )
        try:
            self._wait(server)
            yield
        finally:
            server.terminate()
            server.wait(timeout=60)

    def _wait(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("SELECT 1")
                return
            time.sleep(0.1)
        raise RuntimeError(f"mariadbd in {self.data} did not answer")

    def _run(self, statements: str) -> None:
        command = ["mariadb", "--no-defaults", f"--socket={self._socket}", "-u", "root"]
        subprocess.run(command, check=True, capture_output=True, text=True, input=statements)

    def update(self, rows: int, seed: int) -> None:
        """Change `rows` rows, each in a transaction of its own, at random places."""
        keys = _places(rows, ORDERS, seed)
        updates = (f"UPDATE orders SET total = total + 1, state = 'paid' WHERE id = {key};\n" for key in keys)
        with self.running():
            self._run("USE shop;\n" + "".join(updates))
