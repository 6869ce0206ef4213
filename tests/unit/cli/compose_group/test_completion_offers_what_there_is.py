"""Completion of `dm-compose` offers the names that there are, and after a verb of Compose's all that Compose offers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.capabilities import needs_compose
from tests.support.commands import DM_COMPOSE, Ended, run_script, script
from tests.support.machines import Machine

pytestmark = needs_compose
SCRIPT = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_dm_compose_completion dm-compose
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A store with the dot of this directory's project: a commit, the branches master and other, a tag, a remote."""
    machine = Machine(tmp_path)
    machine("init", "shop")
    machine.write("shop", "file", "one")
    machine.commit("shop", "one")
    machine("tag", "v1")
    machine("branch", "other")
    machine("remote", "add", "hub", str(tmp_path / "hub"))
    monkeypatch.setenv("DM_HOME", str(machine.home))
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(DM_COMPOSE).parent), os.environ["PATH"])))
    return machine


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that `completion --install` writes for bash."""
    ended = script("completion", "bash", "--install", BASH_COMPLETION_USER_DIR=str(tmp_path / "bash"))
    assert (ended.code, ended.err) == (0, "")
    return tmp_path / "bash" / "completions" / "dm-compose"


def in_bash(file: Path, *words: str) -> list[str]:
    """Return what a real bash offers for the last of the words, after it has read the installed file."""
    ended = run_script("bash", "--norc", "-c", SCRIPT, "bash", str(file), "dm-compose", *words, environment=os.environ)
    assert (ended.code, ended.err) == (0, "")
    return ended.out.split()


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("che",), ["checkout"]),
        (("lo",), ["log", "logs"]),
        (("checkout", "oth"), ["other"]),
        (("reset", "--hard", "v"), ["v1"]),
        (("reset", "--ha"), ["--hard"]),
        (("tag", "-d", ""), ["v1"]),
        (("branch", "-d", ""), ["master", "other"]),
        (("worktree", "remove", "ma"), ["main"]),
        (("remote", "ls", ""), ["hub"]),
        (("push", "h"), ["hub"]),
        (("pull", "--stash"), ["--stash-on-divergence"]),
        (("logs", ""), ["cache", "db"]),
        (("logs", "--tai"), ["--tail"]),
        (("up", "--fr"), ["--from"]),
        (("up", "--wait-t"), ["--wait-timeout"]),
        (("-f", "compose.yaml", "stop", "c"), ["cache"]),
        (("log", "v"), ["v1"]),
    ],
)
def test_bash_offers_ours_and_composes(file: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert in_bash(file, *words) == offered


@pytest.mark.usefixtures("used")
def test_a_name_is_of_the_project_that_the_options_choose(file: Path) -> None:
    assert in_bash(file, "-p", "another", "checkout", "") == []


@pytest.mark.usefixtures("used")
def test_what_is_broken_offers_nothing(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DM_HOME", str(tmp_path / "shop" / "compose.yaml"))
    assert in_bash(file, "checkout", "") == []
    Path("compose.yaml").write_text("services: [")
    assert in_bash(file, "logs", "") == in_bash(file, "checkout", "") == []


def _complete(line: str, shell: str) -> Ended:
    words = line.split(" ")
    position = words[-1] if shell == "fish" else str(len(words) - 1)
    return script(_DM_COMPOSE_COMPLETE=f"{shell}_complete", COMP_WORDS=line, COMP_CWORD=position)


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_get_the_same_words(shell: str) -> None:
    assert "checkout" in _complete("dm-compose che", shell).out
    assert "other" in _complete("dm-compose checkout oth", shell).out
    assert "cache" in _complete("dm-compose logs c", shell).out


@pytest.mark.parametrize(
    ("shell", "path"),
    [
        ("bash", "home/.local/share/bash-completion/completions/dm-compose"),
        ("zsh", "home/.local/share/zsh/site-functions/_dm-compose"),
        ("fish", "home/.config/fish/completions/dm-compose.fish"),
    ],
)
def test_the_completion_is_installed_where_the_shell_looks_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, path: str
) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    first = script("completion", "--install")
    assert (first.code, first.lines[0]) == (0, f"wrote {tmp_path / path}")
    assert (tmp_path / path).read_text() == script("completion", shell).out.removesuffix("\n")
    changed_at = (tmp_path / path).stat().st_mtime_ns
    assert script("completion", "--install").lines[0] == f"there already: {tmp_path / path}"
    assert (tmp_path / path).stat().st_mtime_ns == changed_at
    assert script("completion", "--install", "--json").json() == {"shell": shell, "file": str(tmp_path / path), "changed": False}
    assert [str(p.relative_to(tmp_path)) for p in sorted((tmp_path / "home").rglob("*")) if p.is_file()] == [path]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = script("completion", "bash", "--install", BASH_COMPLETION_USER_DIR=str(tmp_path / "file"))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {tmp_path / 'file'}/completions/dm-compose cannot be written: Not a directory\nhint: ")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_zsh_reads_the_installed_file(tmp_path: Path) -> None:
    assert script("completion", "zsh", "--install", XDG_DATA_HOME=str(tmp_path)).code == 0
    line = f"fpath=({tmp_path}/zsh/site-functions $fpath); autoload -Uz compinit && compinit -D -u; print $_comps[dm-compose]"
    assert run_script("zsh", "-f", "-c", line, environment=os.environ).out == "_dm-compose\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish")
@pytest.mark.usefixtures("used")
def test_fish_reads_the_installed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert script("completion", "fish", "--install").code == 0
    assert run_script("fish", "-c", "complete -C 'dm-compose checkout oth'", environment=os.environ).out == "other\n"
