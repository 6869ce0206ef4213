"""A running datastore as the hooks of its module see it (datastores.base.Running)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dm_compose.datastores import ServiceFacts
from dm_compose.engine import Engine
from dm_compose.live.worktree import Member


@dataclass(frozen=True)
class RunningMember:
    """A member's datastore, which listens at `host` and `port` as seen from here."""

    engine: Engine
    member: Member
    host: str
    port: int

    @property
    def service(self) -> ServiceFacts:
        return self.member.service

    def run(self, command: Sequence[str], *, user: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        return self.engine.run(self.member.container.id, command, user=user, environment=environment)
