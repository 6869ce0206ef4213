"""Plans of compose files as users write them: Compose resolves them, `make_plan` judges."""

# ruff: noqa: E501 (a row of a table is a line, and so is one of a compose file)

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dm_compose.compose import Compose, ComposeOptions
from dm_compose.core.containers import Image
from dm_compose.core.project import Project
from dm_compose.datastores.registry import registry
from dm_compose.discovery.stack_plan import StackPlan
from dm_compose.discovery.subdots import make_plan

IN_VAIN = "named in x-dotmesh.include, to no effect"
HOST_DIRECTORY = "host directory: source code or files of the host; to include it, name it in x-dotmesh.include"


def resolve(directory: Path, text: str, *, name: str = "shop", profiles: tuple[str, ...] = ()) -> Project:
    file = directory / "compose.yaml"
    file.write_text(text)
    return Compose(ComposeOptions(files=(str(file),), project_name=name, profiles=profiles)).project()


def plan_of(
    directory: Path, text: str, images: Mapping[str, Image] | None = None, *, name: str = "shop", profiles: tuple[str, ...] = ()
) -> StackPlan:
    return make_plan(resolve(directory, text, name=name, profiles=profiles), images or {}, registry())


def declares(reference: str, *volumes: str, **environment: str) -> Image:
    """An image as the engine knows it, with the volumes that it declares."""
    return Image(reference, digest="sha256:1", volumes=volumes, environment=environment)


def shown(plan: StackPlan) -> tuple[set[str], set[str]]:
    """The whole plan in words: subdots as `name: kind engine of services at path`, and what is skipped as `service path: reason`."""
    subdots = {f"{s.name}: {s.kind.value} {s.engine or '-'} of {','.join(s.services)} at {s.path}" for s in plan.subdots}
    skipped = {f"{s.service} {s.path}: {s.reason}" for s in plan.skipped}
    assert len(subdots) == len(plan.subdots)
    assert len({s.name for s in plan.subdots}) == len(plan.subdots), "names are unique"
    return subdots, skipped
