"""The group `cluster`: the volume driver by which Docker itself makes and mounts dots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dm_compose.cli.environment import read_variables
from dm_compose.cli.options import json_option
from dm_compose.cli.output import print_json, table
from dm_compose.cli.progress import Narrator
from dm_compose.cli.verbs.help import VerbGroup
from dm_compose.core.volumes import DRIVER

if TYPE_CHECKING:
    from dm_compose.driver.service import DriverService, DriverStatus


@click.group(cls=VerbGroup, short_help="Dots as volumes of plain Docker and Compose.")
@click.option("--driver", default=DRIVER, envvar="DM_DRIVER", hidden=True, help="Name of the driver.")
@click.option(
    "--plugins",
    type=click.Path(path_type=Path),
    default=Path("/run/docker/plugins"),
    envvar="DM_PLUGINS",
    hidden=True,
    help="The engine's plugin directory.",
)
@click.pass_context
def cluster(ctx: click.Context, driver: str, plugins: Path) -> None:
    """The volume driver `dm`, by which plain Docker and Compose use dots as volumes.

    \b
    docker run --volume-driver dm -v DOT.SUBDOT:/data IMAGE
    volumes: {data: {driver: dm, name: DOT.SUBDOT}}        in a compose file

    It runs as root on the engine's own host. `dm-compose` does not need it.
    """
    ctx.obj = (driver, plugins)


def _service(*, quiet: bool) -> DriverService:
    from dm_compose.driver.service import DriverService
    from dm_compose.engine import Engine

    driver, plugins = click.get_current_context().obj
    return DriverService(Engine(), read_variables(), driver, plugins, listener=Narrator(quiet=quiet))


def _waking_service(*, quiet: bool) -> DriverService:
    from dm_compose.driver.service import DriverService

    driver, plugins = click.get_current_context().obj
    return DriverService.waking(read_variables(), driver, plugins, Narrator(quiet=quiet))


@cluster.command()
@json_option
def init(*, as_json: bool) -> None:
    """Set the driver up and start it, and tell each step as it happens. If all is there already, nothing changes.

    Where systemd runs, the driver is a service that starts before Docker at every start of the machine. Elsewhere it is a process
    in the background. Run this command again after each start of such a machine.
    """
    found = _waking_service(quiet=as_json).init()
    if as_json:
        print_json(found)


@cluster.command()
@click.option(
    "--now", is_flag=True, help="Leave no process. Restart the engine then, or it waits 15 s at each look-up of a volume."
)
@json_option
def reset(*, now: bool, as_json: bool) -> None:
    """Take the driver away, and remove its volumes from Docker. The dots keep all their data.

    The command refuses while a container, running or not, has one of the volumes. The engine goes on asking a driver that it has
    met. So a process stays, which answers "no volumes" and ends with the engine.
    """
    found = _service(quiet=as_json).reset(now=now)
    if as_json:
        print_json(found)


@cluster.command(short_help="Show whether the driver runs, and its volumes.")
@json_option
def status(*, as_json: bool) -> None:
    """Show whether the driver runs, whether the engine has met it, and its volumes with their dots. Changes nothing."""
    found = _service(quiet=True).status()
    if as_json:
        print_json(found)
        return
    click.echo(f"driver   {found.driver} {_state(found)}")
    click.echo(f"engine   {'has met it' if found.known else 'has not met it since it started'}")
    click.echo(f"socket   {found.socket}\nstore    {found.store or '(none yet)'}\nlog      {found.log or '-'}")
    if found.volumes:
        click.echo()
        rows = [
            (v.volume.name, v.volume.dot, v.volume.branch or "-", ", ".join(v.containers) or "-", v.volume.directory or "-")
            for v in found.volumes
        ]
        table(("VOLUME", "DOT", "BRANCH", "CONTAINERS", "DIRECTORY"), rows)


def _state(found: DriverStatus) -> str:
    process = f"process {found.pid}" if found.pid else "a process that cannot be seen from here"
    if found.leaving:
        return f"was reset; {process} says so until the engine ends"
    return f"runs ({process}, {found.kept_by}, version {found.version})" if found.running else "does not run"
