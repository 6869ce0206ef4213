"""Several machines and the remote that they share, a directory, as the `dm` command sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.machines import Machine


@dataclass(frozen=True)
class Hub:
    """A remote that every machine of it knows as `hub`."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / "hub"

    def machine(self, name: str) -> Machine:
        """Return a machine with a store of its own."""
        made = Machine(self.root / name)
        made.root.mkdir(exist_ok=True)
        made("remote", "add", "hub", str(self.path))
        return made


def commit(machine: Machine, dot: str, content: str, *, name: str = "file") -> str:
    """Write a file of a dot's current branch and commit it with its content as message; return the commit's id."""
    machine.write(dot, name, content)
    return machine.commit(dot, content)


def log(machine: Machine, dot: str = "shop", ref: str = "HEAD") -> Any:
    """Return all that a machine knows of the history of a ref."""
    return machine("--dot", dot, "log", ref, "--json").json()


def messages(machine: Machine, dot: str = "shop", ref: str = "HEAD") -> list[str]:
    """Return the messages of a ref's history, oldest first."""
    return [found["message"] for found in reversed(log(machine, dot, ref))]


def branches(machine: Machine, dot: str = "shop") -> dict[str, str | None]:
    """Return the heads of a dot's branches."""
    return {found["name"]: found["head"] for found in machine("--dot", dot, "branch", "--json").json()}


def on_hub(machine: Machine) -> dict[str, dict[str, str]]:
    """Return the heads of all branches on the hub, by dot."""
    found = machine("remote", "ls", "hub", "--json").json()
    return {
        f"{dot['name']['namespace']}/{dot['name']['dot']}": {branch["name"]: branch["head"] for branch in dot["branches"]}
        for dot in found
    }
