"""What is going to be done to a stack, as data: numbered steps, each with its cause in words and the steps it waits for."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Action(enum.Enum):
    """What a step does to its subject: a container, a subdot, all files, or (SWITCH) the dot's volumes."""

    KILL = "kill"
    RESTORE = "restore"
    SWITCH = "switch"
    SYNC = "sync"
    START = "start"
    AWAIT = "await"
    PAUSE = "pause"


@dataclass(frozen=True)
class Step:
    """One operation on one container (its id is `target`), on one subdot (its name is) or on all files (''); `label` is for
    people.
    """

    number: int
    action: Action
    target: str
    label: str
    cause: str
    after: tuple[int, ...] = ()

    def __str__(self) -> str:
        waits = f" after {', '.join(map(str, self.after))}" if self.after else ""
        return f"{self.number}. {self.action.value} {self.label}{waits}: {self.cause}"


@dataclass(frozen=True)
class Plan:
    """Steps in an order in which they may be done one by one; steps that do not wait for each other may be done at once."""

    steps: tuple[Step, ...] = ()

    def targets(self, action: Action) -> tuple[str, ...]:
        """Return what the steps with this action act on."""
        return tuple(step.target for step in self.steps if step.action is action)

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps)) or "nothing to do"


class PlanDraft:
    """A plan in the making: it gives each step its number."""

    def __init__(self, steps: tuple[Step, ...] = ()) -> None:
        self._steps = list(steps)

    def add(self, action: Action, target: str, label: str, cause: str, after: tuple[int, ...] = ()) -> int:
        """Add a step that waits for those with the numbers `after`; return its number."""
        number = len(self._steps) + 1
        self._steps.append(Step(number, action, target, label, cause, after))
        return number

    def plan(self) -> Plan:
        """Return the plan of all steps so far."""
        return Plan(tuple(self._steps))
