"""The plan of an operation on a stack, as data: numbered steps, each with its cause in words and the steps it waits for."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Action(enum.Enum):
    """The action of a step.

    KILL, START, AWAIT (until it answers) and PAUSE act on a container. RESTORE acts on one subdot, and SYNC makes all restored
    files durable. SWITCH makes the dot's volumes follow another worktree.
    """

    KILL = "kill"
    RESTORE = "restore"
    SWITCH = "switch"
    SYNC = "sync"
    START = "start"
    AWAIT = "await"
    PAUSE = "pause"


@dataclass(frozen=True)
class Step:
    """One action of a plan, which begins when the steps `after` (their numbers) have ended.

    `target` is the id of a container, the name of a subdot or worktree, or '' for all files. `label` names the target for
    people, and `cause` says why the step is needed.
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
    """Steps in an order in which they can be done one after the other. Steps that do not wait for each other can also be done
    at once.
    """

    steps: tuple[Step, ...] = ()

    def targets(self, action: Action) -> tuple[str, ...]:
        """Return the targets of the steps with this action."""
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
