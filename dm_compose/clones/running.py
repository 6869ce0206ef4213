"""A clone with containers. It is made from a commit, brought up until its engines answer, and removed at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dm_compose.clones.clone import Clone, made
from dm_compose.core.commit import Commit
from dm_compose.dots.stack import OpenStack, Rewrite, Stack
from dm_compose.live.ready import await_all
from dm_compose.operations.checks import check_versions
from dm_compose.up.run import require_compose


@dataclass(frozen=True)
class RunningClone:
    """A clone of a stack with its store open. It was made from `commit`."""

    clone: Clone
    commit: Commit
    opened: OpenStack

    def up(self, words: Sequence[str], rewrites: Sequence[Rewrite], *, any_version: bool, timeout_s: float) -> None:
        """Have Compose bring containers up, and return when all that have state answer. `words` are those of Compose's `up`.

        ComposeError, NotReadyError; without `any_version` also VersionMismatchError.
        """
        require_compose(self.clone, ["up", "-d", *words], creates=True, rewrites=rewrites)
        with self.opened.live() as live:
            await_all(live, timeout_s)
            if not any_version:
                check_versions(live.origins(), self.commit)

    def stop(self, timeout_s: int) -> list[str]:
        """Stop the containers as `docker stop` does. Return the services that had to be killed."""
        require_compose(self.clone, ["stop", "--timeout", str(timeout_s)], creates=False)
        return [container.label for container in self.clone.containers() if container.exit_code == KILLED]


def services_with_engines(stack: Stack) -> list[str]:
    """Return the services whose engines have their data in files."""
    return sorted({subdot.services[0] for subdot in stack.facts.plan.subdots if subdot.engine is not None})


KILLED = 137  # the exit code of a container that did not end in time


@contextlib.contextmanager
def running_clone(clone: Clone, ref: str) -> Iterator[RunningClone]:
    """Make a clone of the commit that `ref` means in the original, to bring containers up in. See clone.made.

    The clone is removed when the block ends.
    """
    with made(clone, ref) as commit, contextlib.closing(clone.open(make_volumes=False)) as opened:
        yield RunningClone(clone, commit, opened)
