"""The containers that a session makes through Compose: they come from a project that is changed for them, and go at the end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dm_compose.core.containers import Container
from dm_compose.core.events import Event
from dm_compose.core.labels import SESSION_LABEL
from dm_compose.dots.stack import Rewrite, Stack
from dm_compose.engine import OWNER_LABEL, Owner
from dm_compose.sessions.options import SessionOptions
from dm_compose.up.durability import OFF, Relaxation, relax, relaxations, told
from dm_compose.up.respawn import respawn_obstacles, supervise
from dm_compose.up.run import require_compose


class SessionContainers:
    """A stack's containers as a session finds them, and those that it makes.

    `made` are the services whose containers the session makes. `brought_up` are those that it takes down at its end.
    """

    def __init__(self, stack: Stack, options: SessionOptions) -> None:
        self._stack = stack
        self._options = options
        self.made: Collection[str] = frozenset()
        self.brought_up: frozenset[str] = frozenset()

    @property
    def rewrites(self) -> Sequence[Rewrite]:
        """The changes to the project for containers that the session makes."""
        return (self._relax, self._supervise, self._own)

    def own(self) -> list[Container]:
        """Return the containers of the stack's services, running or not, without those of `compose run`."""
        return [c for c in self._stack.containers() if c.project == self._stack.facts.project.name and not c.one_off]

    def up(self, services: Sequence[str]) -> None:
        """Have Compose bring services up. A service that has a container keeps it. ComposeError."""
        words = ["up", "-d", "--no-recreate", *services]
        require_compose(self._stack, words, creates=True, rewrites=self.rewrites)

    def take_down(self, *, all_of_the_stack: bool) -> None:
        """Take down the services that were brought up, and remove the containers that were made.

        `all_of_the_stack` says that nothing of the stack was there before, so that everything of it is removed. Volumes that the
        engine made for these containers and gave no name go with them, because they hold no state, and `down` would leave them.
        The user's own volumes are mounted by a name and stay.
        """
        if all_of_the_stack:
            self._compose(["rm", "--force", "--stop", "--volumes"])
            self._compose(["down"])
            return
        self._compose(["stop", *sorted(self.brought_up)])
        if made := sorted(self.brought_up & set(self.made)):
            self._compose(["rm", "--force", "--volumes", *made])

    def revive(self, fallen: Mapping[str, Container | None]) -> None:
        """Have services run again, on the files as they are. None stands for a container that is gone."""
        engine = self._stack.facts.engine
        for container in fallen.values():
            if container is not None:
                (engine.unpause if container.state == "paused" else engine.start)(container.id)
        if gone := sorted(service for service, container in fallen.items() if container is None):
            self.up(gone)

    def tell_durability(self) -> None:
        """Tell the listener which engines do not wait for the disk, if that was asked for."""
        if self._options.durability == OFF:
            self._stack.listener(Event("durability", told(self._relaxations(self._stack.facts.project.document))))

    def _compose(self, words: Sequence[str]) -> None:
        require_compose(self._stack, words, creates=False)

    def _relaxations(self, document: Mapping[str, Any]) -> dict[str, Relaxation]:
        there = Relaxation(obstacle="its container was there before the run")
        return {n: r if n in self.made else there for n, r in relaxations(document, self._stack).items()}

    def _relax(self, document: dict[str, Any]) -> None:
        """Have engines not wait for the disk, if that is asked for and can be done."""
        if self._options.durability == OFF:
            relax(document, self._relaxations(document), self._stack.facts.images)

    def _supervise(self, document: dict[str, Any]) -> None:
        """Have the services with state run under a supervisor, if they can."""
        if self._options.strategy == "restart":
            return
        facts = self._stack.facts
        names = document["services"].keys() & facts.plan.stateful_services()
        obstacles = respawn_obstacles(document, facts.images, facts.engine, names)
        for name, obstacle in sorted(obstacles.items()):
            if obstacle and self._options.strategy == "respawn":
                self._stack.listener(Event("warning", f"{name} cannot respawn, so its container is restarted: {obstacle}"))
        supervise(document, facts.images, [name for name, obstacle in obstacles.items() if not obstacle])

    def _own(self, document: dict[str, Any]) -> None:
        """Label the containers that the session brings up as the run's own. If the run is killed, recovery removes them."""
        for name in document["services"].keys() & self.brought_up:
            labels = document["services"][name].setdefault("labels", {})
            labels[SESSION_LABEL] = self._stack.facts.project.name
            labels[OWNER_LABEL] = str(Owner.me()).replace("$", "$$")
