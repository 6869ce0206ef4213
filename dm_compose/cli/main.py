"""The entry points of both programs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import click

from dm_compose.cli.environment import read_variables
from dm_compose.cli.output import print_error
from dm_compose.cli.screen import colour
from dm_compose.cli.verbs.help import usage_error
from dm_compose.errors import DmError, PluginError
from dm_compose.process import let_go_of_terminal

BUG = 70
INTERRUPTED = 130
TERMINATED = 143
HUNG_UP = 129


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `dm-compose` and exit."""
    from dm_compose.cli.compose_group import cli  # imported late, as below: each program needs its own verbs only

    _main(cli, "dm-compose", arguments)


def dm(arguments: Sequence[str] | None = None) -> None:
    """Run `dm` and exit."""
    from dm_compose.cli.dm_group import cli

    _main(cli, "dm", arguments)


def _main(cli: click.Command, name: str, arguments: Sequence[str] | None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for names with characters that the terminal cannot show
    sys.exit(run(lambda: cli.main(words, prog_name=name, standalone_mode=False, color=colour()), [name, *words]))


def run(work: Callable[[], object], words: Sequence[str]) -> int:
    """Run a command and return its exit code (docs/cli.md has the table). The first of its `words` is the program."""
    as_json = "--json" in words[: words.index("--")] if "--" in words else "--json" in words
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup` has it ignored
        signal.signal(signal.SIGHUP, _hung_up)
    try:
        result = work()
        return result if isinstance(result, int) else 0
    except DmError as error:
        print_error(error, as_json=as_json)
        if isinstance(error, PluginError):
            click.echo(f"the plugin's traceback is {_keep_traceback(words)}", err=True)
        return error.exit_code
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        print_error(usage_error(error), as_json=as_json)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception:
        return _bug(words)


def _terminated(*_: object) -> None:
    raise SystemExit(TERMINATED)


def _hung_up(*_: object) -> None:
    """End as at SIGTERM. The terminal is gone, so output to it goes nowhere instead of failing while things are given back."""
    let_go_of_terminal()
    raise SystemExit(HUNG_UP)


def _bug(words: Sequence[str]) -> int:
    """Tell the user that an unexpected error is a bug of ours."""
    click.echo(f"error: this is a bug in dm-compose; the details are {_keep_traceback(words)}", err=True)
    return BUG


def _keep_traceback(words: Sequence[str]) -> str:
    """Write the traceback of the current exception to a file that the user can send to somebody; return where it is, in words."""
    from dm_compose.objects.system import private_directory, write_file

    base = read_variables().state_directory
    file = base / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    text = f"{' '.join(words)}\n{traceback.format_exc()}"
    try:
        private_directory(base)  # the command line may name something that is nobody else's business
        write_file(file, text.encode(errors="backslashreplace"), durable=False, private=True)
    except OSError:
        click.echo(text, err=True)
        return "above"
    return f"in {file}"
