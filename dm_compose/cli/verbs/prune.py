"""`dm-compose prune` removes clones that killed test runs have left."""

from __future__ import annotations

from collections import Counter

import click

from dm_compose.cli.options import json_option
from dm_compose.cli.output import print_json
from dm_compose.cli.targets import target
from dm_compose.core.units import counted
from dm_compose.errors import EngineError


@click.command(short_help="Remove the clones that killed test runs have left.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@json_option
def prune(*, dry_run: bool, as_json: bool) -> None:
    """Remove the clones that killed test runs have left, of any stack, with containers, networks, volumes and files in the store.

    A clone whose test run is alive stays, and so does everything that is not a clone. The next test run on clones removes them
    too. Project files that dm-compose has generated for stacks of which nothing is left on the engine go as well.
    """
    from dm_compose.clones.sweep import gone_projects, sweep
    from dm_compose.up.run import forget_generated_files

    dots = target().dots(quiet=as_json)
    if dots.engine is None:
        raise EngineError("no Docker Engine answers", hint="Start Docker, or check DOCKER_HOST.")
    with dots.store() as store:
        found = sweep(dots.engine, store, dots.variables, dots.listener, thorough=True, dry_run=dry_run)
    gone = gone_projects(dots.engine, dots.variables)
    for project in [] if dry_run else gone:
        forget_generated_files(dots.variables.state_directory, project)
    if as_json:
        print_json({"dry_run": dry_run, "clones": found, "projects": gone})
        return
    for leftover in found:
        kinds = Counter(resource.kind for resource in leftover.resources)
        what = ", ".join(counted(count, kind) for kind, count in kinds.items()) or "its state in the store"
        click.echo(f"{'would remove' if dry_run else 'removed'} {leftover.name}: {what}")
    for project in gone:
        click.echo(
            f"{'would remove' if dry_run else 'removed'} the generated project file of {project}, of which nothing is left"
        )
    if not found and not gone:
        click.echo("no test run has left anything")
