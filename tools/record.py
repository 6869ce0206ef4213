"""Record a real session on examples/sockshop as a moving picture: `python -m tools.record [FILE]` writes docs/images/demo.svg.

The session runs in a shell in a pseudo terminal, on a stack and a store of its own, which are removed at the end. This program
types the commands. All output comes from the programs that are shown, with the times that they measured. Only waits are cut in
the picture, to 1.6 s. It needs an engine and the images of the examples: `tools/with-engine .venv/bin/python -m tools.record`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.animation import svg
from tools.terminal import Screen, Terminal

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
SOCKSHOP = ROOT / "examples" / "sockshop"
PROJECT = "sockshop"
COLUMNS, LINES = 92, 26
TITLE = "Sock Shop: MariaDB, three Mongo stand-ins and RabbitMQ in one stack"
PROMPT = r"\[\e[1;32m\]$\[\e[0m\] "
SCENES = (
    "./shop state                            # a shop with customers in five datastores",
    'dm-compose commit -m "two customers"    # all five at one instant, while they run',
    "./shop buy Mallory odd 900              # writes to all five",
    'docker compose exec catalogue-db mariadb -pfake_password socksdb -e "drop table sock"',
    "dm-compose status",
    "dm-compose reset --hard",
    "./shop state",
)
TYPED_AT_ONCE, TYPING_S, READING_S, TIMEOUT_S = 3, 0.11, 1.3, 180.0


def environment(home: str) -> dict[str, str]:
    """Return the environment of the session: a store of its own, and the commands of this Python's environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DM_", "COMPOSE_", "NO_COLOR"))}
    return {
        **inherited,
        "COMPOSE_FILE": "docker-compose.local.yaml",
        "COMPOSE_PROJECT_NAME": PROJECT,
        "COMPOSE_PROGRESS": "quiet",
        "DM_HOME": home,
        "XDG_STATE_HOME": home,
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PS1": PROMPT,
        "TERM": "xterm-256color",
    }


@contextlib.contextmanager
def stack(env: Mapping[str, str]) -> Iterator[None]:
    """Bring the shop up with two customers, and remove it and its volumes at the end; SystemExit if it is there already."""

    def run(*words: str) -> str:
        return subprocess.run(words, cwd=SOCKSHOP, env=env, check=True, capture_output=True, text=True).stdout

    if run("docker", "compose", "ps", "-aq"):
        raise SystemExit(f"a stack `{PROJECT}` is there already; take it down first")
    try:
        run("dm-compose", "up", "-d")
        run("./shop", "state")
        run("./shop", "buy", "Ada", "argyle", "2")
        run("./shop", "buy", "Alan", "merino", "1")
        yield
    finally:
        run("dm-compose", "down", "-v")


def asks(screen: Screen) -> bool:
    """Return whether the shell waits for a command."""
    return screen.line() == "$ "


def record(env: Mapping[str, str]) -> Terminal:
    """Type all commands, as a person would, and look on."""
    terminal = Terminal.start(["bash", "--norc", "--noprofile", "--noediting"], env, str(SOCKSHOP), COLUMNS, LINES)
    try:
        terminal.wait(asks, TIMEOUT_S)
        for command in SCENES:
            terminal.rest(READING_S)
            for start in range(0, len(command), TYPED_AT_ONCE):
                terminal.type(command[start : start + TYPED_AT_ONCE])
                terminal.rest(TYPING_S)
            terminal.rest(0.3)
            terminal.type("\n")
            terminal.wait(lambda screen: not asks(screen), TIMEOUT_S)
            terminal.wait(asks, TIMEOUT_S)
    finally:
        terminal.stop()
    return terminal


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    with tempfile.TemporaryDirectory(prefix="dm-record-") as home:
        env = environment(home)
        with stack(env):
            terminal = record(env)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(svg(terminal.frames, COLUMNS, LINES, TITLE))
    print(f"{target}: {len(terminal.frames)} frames, {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
