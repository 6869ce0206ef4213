"""Write docs/transcripts.md: what a person sees in a terminal of 80 columns, captured from tmux.

The commands run in a real shell in tmux, on stacks and a store of their own, which are removed at the end. Nothing is edited. It
needs tmux, an engine and the images of the examples:
`tools/with-engine .venv/bin/python -m tools.transcripts`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "transcripts.md"
COLUMNS, LINES = 80, 24
TIMEOUT_S = 300.0
SQL = 'docker compose exec db psql -qU postgres -c "{}"'
FAILING = """
import psycopg

def test_an_order_is_kept(dm_stack):
    host, port = dm_stack.address("db", 5432)
    with psycopg.connect(host=host, port=port, user="postgres", password="webapp") as db:
        db.execute("insert into orders values ('a test was here')")
        assert db.execute("select count(*) from orders").fetchone() == (2,)
"""


@dataclass(frozen=True)
class Scene:
    """A heading with a sentence, and the commands below it. `first` are commands whose output is not shown."""

    title: str
    text: str
    commands: tuple[str, ...]
    first: tuple[str, ...] = ()


WEBAPP = (
    Scene(
        "The quick start",
        "Postgres and Redis. Nothing was edited in the compose file.",
        ("dm-compose plan", "dm-compose up -d --wait", 'dm-compose commit -m "seed"'),
        first=("clear",),
    ),
    Scene("Nothing was written", "The engines themselves may have.", ("dm-compose status",)),
    Scene(
        "Somebody has written",
        "`status` says where, and by how much.",
        ("dm-compose status",),
        first=(SQL.format("create table orders (what text)"),),
    ),
    Scene("A refused reset", "Nothing has changed after it.", ("dm-compose reset",)),
    Scene("A reset", "Uncommitted changes are kept.", ("dm-compose reset --hard",)),
    Scene("Undo", "The table is there again.", ("dm-compose undo", SQL.format("select * from orders"))),
    Scene(
        "Work that comes along",
        "At the head a new branch moves no file.",
        ("dm-compose checkout -b orders", 'dm-compose commit -m "a table for orders"', "dm-compose checkout -"),
    ),
    Scene("A mistyped verb", "It is not handed to Compose.", ("dm-compose stauts",)),
    Scene(
        "A reset that times out",
        "This commit has a Postgres that waits for a primary server. The state before is put back.",
        ("dm-compose reset --hard waits --timeout 5", "dm-compose status"),
        first=(
            "docker compose exec -u postgres db touch /var/lib/postgresql/data/standby.signal",
            SQL.format("alter system set hot_standby = off"),
            "dm-compose checkout -b waits",
            'dm-compose commit -m "a standby without a primary"',
            "dm-compose checkout -",
        ),
    ),
    Scene(
        "A failing test",
        "The next test, and whoever works on the stack, find it as it was.",
        ("pytest -q test_orders.py", "dm-compose status"),
        first=("dm-compose reset --hard orders",),
    ),
)
SOCKSHOP = (
    Scene(
        "Five datastores at once",
        "MariaDB, RabbitMQ and three MongoDB stand-ins of Sock Shop.",
        ("dm-compose status", "dm-compose reset --hard"),
        first=("./shop buy Mallory odd 900",),
    ),
)


class Tmux:
    """A shell in a tmux server of its own. The shell tells tmux at each prompt that it waits."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._socket = f"dm-transcripts-{os.getpid()}"
        self._env = {**env, "PROMPT_COMMAND": f"tmux -L {self._socket} wait-for -S ready"}
        shell = "bash --norc --noprofile"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), "-c", str(directory), shell)
        self._ready()
        self.run("PS1='$ '")

    def run(self, command: str) -> None:
        """Type a command and return when the shell waits again."""
        self._tmux("send-keys", "-l", command)
        self._tmux("send-keys", "Enter")
        self._ready()

    def clear(self) -> None:
        """Forget all that is on the screen."""
        self.run("clear")
        self._tmux("clear-history")

    def text(self) -> str:
        """Return all that was printed since `clear`, as the terminal shows it, without the last prompt."""
        shown = self._tmux("capture-pane", "-p", "-S", "-").rstrip()
        return shown.removesuffix("$").rstrip()

    def close(self) -> None:
        """End the shell."""
        self._tmux("kill-server")

    def _ready(self) -> None:
        self._tmux("wait-for", "ready")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self._socket, *words]
        return subprocess.run(command, env=self._env, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout


def play(directory: Path, env: Mapping[str, str], scenes: tuple[Scene, ...]) -> Iterator[str]:
    """Yield the text of each scene, played in a directory."""
    tmux = Tmux(directory, env)
    try:
        for scene in scenes:
            for command in scene.first:
                tmux.run(command)
            tmux.clear()
            for command in scene.commands:
                tmux.run(command)
            yield f"## {scene.title}\n\n{scene.text}\n\n```console\n{tmux.text()}\n```\n"
    finally:
        tmux.close()


@contextlib.contextmanager
def shop(env: Mapping[str, str]) -> Iterator[Path]:
    """Bring Sock Shop up with a commit. Remove it at the end."""
    directory = ROOT / "examples" / "sockshop"

    def run(*words: str) -> None:
        subprocess.run(words, cwd=directory, env=env, check=True, capture_output=True, text=True)

    try:
        run("dm-compose", "up", "-d", "--wait")
        run("./shop", "state")
        run("dm-compose", "commit", "-m", "seed")
        yield directory
    finally:
        run("dm-compose", "down", "-v")


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    parts = [
        "# Transcripts\n",
        f"`python -m tools.transcripts` has captured these from a terminal of {COLUMNS} columns (tmux), on real stacks.\n",
    ]
    with tempfile.TemporaryDirectory(prefix="dm-transcripts-") as home:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DM_", "COMPOSE_", "NO_COLOR", "TMUX"))},
            "DM_HOME": f"{home}/store",
            "XDG_STATE_HOME": f"{home}/state",
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        directory = Path(home) / "webapp"
        directory.mkdir()
        shutil.copy(ROOT / "examples" / "webapp" / "compose.yaml", directory)
        (directory / "test_orders.py").write_text(FAILING)
        (directory / "pytest.ini").write_text("[pytest]\naddopts = -p no:asyncio\n")  # a plugin of this environment that warns
        try:
            parts += play(directory, {**env, "COMPOSE_PROJECT_NAME": "transcripts"}, WEBAPP)
        finally:
            down = ["dm-compose", "-p", "transcripts", "down", "-v"]
            subprocess.run(down, cwd=directory, env=env, check=True, capture_output=True)
        env |= {"COMPOSE_FILE": "docker-compose.local.yaml", "COMPOSE_PROJECT_NAME": "transcripts-shop"}
        with shop(env) as place:
            parts += play(place, env, SOCKSHOP)
    target.write_text("\n".join(parts))
    print(f"{target}: {len(WEBAPP) + len(SOCKSHOP)} scenes")


if __name__ == "__main__":
    main()
