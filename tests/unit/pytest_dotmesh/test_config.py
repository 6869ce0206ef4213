"""Where the pytest plugin's settings come from: command line, then environment, then ini file; and what is told of a bad one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pytest_dotmesh.config import SETTINGS, DmConfig, read_config

LISTS = [s for s in SETTINGS if s.kind == "list"]
TEXTS = [s for s in SETTINGS if s.kind == "text"]
FLAGS = [s for s in SETTINGS if s.kind == "flag"]
NUMBERS = [s for s in SETTINGS if s.kind == "number"]
PATHS = ("file", "env_file", "project_directory", "report_json")
by_name = pytest.mark.parametrize


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DM_") or name == "PYTEST_ADDOPTS":
            monkeypatch.delenv(name)


def read(pytester: pytest.Pytester, *words: str, ini: str | None = None) -> DmConfig:
    """Read the plugin's settings of a pytest run with these words, in a directory with this ini section."""
    if ini is not None:
        pytester.makeini(f"[pytest]\n{ini}")
    return read_config(pytester.parseconfig(*words))


def value(config: DmConfig, name: str) -> Any:
    """Return a setting by its name, wherever it went."""
    places: dict[str, Any] = {
        "file": config.compose.files,
        "project_name": config.compose.project_name,
        "profile": config.compose.profiles,
        "env_file": config.compose.env_files,
        "project_directory": config.compose.project_directory,
        "autouse": config.autouse,
        "report": config.report,
        "report_json": config.report_json,
        "keep_failed": config.keep_failed.wanted and not config.keep_failed.to,
        "keep_failed_to": config.keep_failed.to,
        "keep_failed_max": config.keep_failed.limits.commits,
        "keep_failed_mib": config.keep_failed.limits.size_bytes / 1024**2,
        "isolate": config.isolate,
        "spares": config.spares,
        "workers_share": config.workers_share,
        "env": config.environment.lines,
        "commit": config.session.commit,
        "strategy": config.session.strategy,
        "durability": config.session.durability,
        "settle": config.settle,
        "from": str(config.source) if config.source is not None else None,
        "any_version": config.session.any_version,
        "timeout": config.session.ready_timeout_s,
        "lock_timeout": config.session.lock_timeout_s,
    }
    return places[name]


def test_there_is_a_place_for_every_setting(pytester: pytest.Pytester) -> None:
    config = read(pytester)
    assert [value(config, s.name) for s in SETTINGS] == [s.default for s in SETTINGS]


def test_the_defaults_choose_nothing(pytester: pytest.Pytester) -> None:
    config = read(pytester)
    assert config.compose.arguments() == []
    assert (config.session.commit, config.autouse, config.chosen) == ("HEAD", False, False)
    assert (config.session.ready_timeout_s, config.session.lock_timeout_s) == (120.0, 600.0)


def test_the_help_tells_all_three_names_of_every_setting(pytester: pytest.Pytester) -> None:
    text = "".join(pytester.runpytest_inprocess("--help", "-p", "no:asyncio").stdout.str().split())
    for setting in SETTINGS:
        for name in (setting.option, setting.variable, setting.dest):
            assert name in text


# Precedence


def given(setting: Any, place: str) -> tuple[str, Any]:
    """A value for a setting as it is written at a place, and what it means."""
    if setting.name == "strategy":
        word = {"option": "restart", "variable": "respawn", "ini": "auto"}[place]
        return word, word
    if setting.name == "durability":
        word = {"option": "off", "variable": "full", "ini": "off"}[place]
        return word, word
    if setting.name == "from":
        return f"{place}:ns/dot", f"{place}:ns/dot@master"
    if setting.kind == "lines":
        return f"A={place}", (f"A={place}",)
    if setting.kind == "flag":
        return {"option": ("", True), "variable": ("0", False), "ini": ("true", True)}[place]
    if setting.kind == "count":
        count = {"option": 1, "variable": 2, "ini": 3}[place]
        return str(count), count
    if setting.kind == "number":
        number = {"option": 1.0, "variable": 2.0, "ini": 3.0}[place]
        return str(number), number
    word = f"/{place}/x" if setting.name in PATHS else f"NAME={place}" if setting.kind == "lines" else place
    return word, (word,) if setting.kind in ("list", "lines") else word


@by_name("setting", SETTINGS, ids=lambda s: s.name)
def test_the_command_line_wins_over_the_environment_and_that_over_the_ini_file(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: Any
) -> None:
    written, meant = given(setting, "ini")
    ini = f"{setting.dest} = {written}"
    config = read(pytester, ini=ini)
    assert (value(config, setting.name), config.chosen) == (meant, True)

    written, meant = given(setting, "variable")
    monkeypatch.setenv(setting.variable, written)
    config = read(pytester, ini=ini)
    assert (value(config, setting.name), config.chosen) == (meant, True)

    written, meant = given(setting, "option")
    words = [setting.option, written] if written else [setting.option]
    config = read(pytester, *words, ini=ini)
    assert (value(config, setting.name), config.chosen) == (meant, True)


@by_name("setting", SETTINGS, ids=lambda s: s.name)
def test_a_setting_leaves_the_others_alone(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: Any) -> None:
    monkeypatch.setenv(setting.variable, given(setting, "variable")[0])
    config = read(pytester)
    assert all(value(config, other.name) == other.default for other in SETTINGS if other is not setting)


# Lists


@by_name("setting", LISTS, ids=lambda s: s.name)
def test_a_list_is_an_option_several_times_a_path_or_words(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: Any
) -> None:
    assert value(read(pytester, setting.option, "/a", f"{setting.option}=/b c"), setting.name) == ("/a", "/b c")
    assert value(read(pytester, ini=f"{setting.dest} = /a '/b c'\n    /d"), setting.name) == ("/a", "/b c", "/d")
    monkeypatch.setenv(setting.variable, os.pathsep.join(("/a", "/b c")))
    assert value(read(pytester), setting.name) == ("/a", "/b c")


@by_name("setting", LISTS, ids=lambda s: s.name)
def test_an_empty_list_is_a_value(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: Any) -> None:
    ini = f"{setting.dest} = /ini"
    assert value(read(pytester, f"{setting.option}=", ini=ini), setting.name) == ()
    monkeypatch.setenv(setting.variable, "")
    config = read(pytester, ini=ini)
    assert (value(config, setting.name), config.chosen) == ((), True)


def test_environment_variables_are_options_or_lines(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    assert value(read(pytester, "--dm-env", "A=1 {db:1}", "--dm-env=B=2"), "env") == ("A=1 {db:1}", "B=2")
    assert value(read(pytester, ini="dm_env =\n    A=1 2\n    B=2"), "env") == ("A=1 2", "B=2")
    monkeypatch.setenv("DM_ENV", "A=x://a:1\nB=2\n")
    assert value(read(pytester), "env") == ("A=x://a:1", "B=2")


# Texts


@by_name("setting", TEXTS, ids=lambda s: s.name)
def test_an_empty_text_is_a_value(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: Any) -> None:
    ini = f"{setting.dest} = word"
    assert value(read(pytester, f"{setting.option}=", ini=ini), setting.name) == ""
    monkeypatch.setenv(setting.variable, "")
    assert value(read(pytester, ini=ini), setting.name) == ""


# Flags


@by_name("setting", FLAGS, ids=lambda s: s.name)
@by_name(
    ("word", "meant"),
    [
        *((w, True) for w in ("1", "true", "yes", "on", "TRUE", "True", " on ")),
        *((w, False) for w in ("0", "false", "no", "off", "", "False")),
    ],
)
def test_a_flag_is_written_in_many_ways(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    setting: Any,
    word: str,
    meant: bool,
) -> None:
    monkeypatch.setenv(setting.variable, word)
    assert value(read(pytester), setting.name) is meant
    monkeypatch.delenv(setting.variable)
    assert value(read(pytester, ini=f"{setting.dest} = {word}"), setting.name) is meant


@by_name("setting", FLAGS, ids=lambda s: s.name)
def test_a_flag_can_be_switched_off_on_the_command_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: Any
) -> None:
    off = setting.option.replace("--dm-", "--no-dm-")
    monkeypatch.setenv(setting.variable, "1")
    config = read(pytester, off, ini=f"{setting.dest} = true")
    assert (value(config, setting.name), config.chosen) == (False, True)
    assert value(read(pytester, off, setting.option), setting.name) is True
    assert value(read(pytester, setting.option, off), setting.name) is False


# Numbers


@by_name("setting", NUMBERS, ids=lambda s: s.name)
@by_name(("word", "number"), [("0", 0.0), ("0.5", 0.5), ("30", 30.0), (" 7 ", 7.0), ("1e3", 1000.0)])
def test_a_number_of_seconds_may_be_zero(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: Any, word: str, number: float
) -> None:
    assert value(read(pytester, setting.option, word), setting.name) == number
    assert value(read(pytester, ini=f"{setting.dest} = {word}"), setting.name) == number
    monkeypatch.setenv(setting.variable, word)
    assert value(read(pytester), setting.name) == number


# Bad values


BAD = [
    *((setting, word) for setting in NUMBERS for word in ("soon", "1 minute", "-1", "nan", "inf")),
    *((setting, word) for setting in FLAGS for word in ("maybe", "2", "tru")),
]


@by_name(("setting", "word"), BAD, ids=lambda v: getattr(v, "name", v))
def test_a_bad_value_is_named_with_the_place_where_it_was_given(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: Any, word: str
) -> None:
    with pytest.raises(pytest.UsageError, match=f"^{setting.dest}: '{word}' is"):
        read(pytester, ini=f"{setting.dest} = {word}")
    monkeypatch.setenv(setting.variable, word)
    with pytest.raises(pytest.UsageError, match=f"^{setting.variable}: '{word}' is"):
        read(pytester)
    if setting.kind == "number":
        with pytest.raises(pytest.UsageError, match=f"^{setting.option}: '{word}' is"):
            read(pytester, f"{setting.option}={word}")


def test_a_number_of_spares_is_a_whole_one_and_goes_with_stacks_of_ones_own_only(pytester: pytest.Pytester) -> None:
    for word in ("-1", "1.5", "many", ""):
        with pytest.raises(pytest.UsageError, match=f"^--dm-spares: '{word}' is not a number"):
            read(pytester, f"--dm-spares={word}")
    with pytest.raises(pytest.UsageError, match="--dm-workers-share"):
        read(pytester, "--dm-spares=1", "--dm-workers-share")


def test_a_bad_value_that_a_better_one_overrules_does_not_matter(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DM_TIMEOUT", "soon")
    assert read(pytester, "--dm-timeout=5", ini="dm_timeout = later").session.ready_timeout_s == 5


def test_what_a_test_does_to_the_environment_does_not_move_the_store(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DM_HOME", "/srv/before")
    monkeypatch.setenv("HOME", "/home/before")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    variables = read(pytester).variables
    for name in ("DM_HOME", "HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, "/after")
    assert (variables.home, str(variables.state_directory)) == ("/srv/before", "/home/before/.local/state/dm-compose")


def test_a_bad_value_ends_the_run_in_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess("--dm-timeout=soon")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().strip() == "ERROR: --dm-timeout: 'soon' is not a number, 0 or more"
    assert "Traceback" not in result.stdout.str()


def test_a_run_that_sets_nothing_and_uses_nothing_is_untouched(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    assert "dm:" not in result.stdout.str()


# Files that are named in the ini file


def test_paths_of_the_ini_file_start_from_its_directory_and_others_from_the_working_directory(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\ndm_file = compose.yaml deploy/more.yaml\ndm_env_file = .env\ndm_project_directory = deploy\n")
    root = pytester.path
    below = pytester.mkdir("tests")
    monkeypatch.chdir(below)
    config = read(pytester)
    assert config.compose.files == (str(root / "compose.yaml"), str(root / "deploy" / "more.yaml"))
    assert config.compose.env_files == (str(root / ".env"),)
    assert config.compose.project_directory == str(root / "deploy")

    config = read(pytester, "--dm-file=compose.yaml", "--dm-project-directory=x")
    assert (config.compose.files, config.compose.project_directory) == (("compose.yaml",), "x")
    monkeypatch.setenv("DM_FILE", "other.yaml")
    assert read(pytester).compose.files == ("other.yaml",)


def test_other_words_of_the_ini_file_are_no_paths(pytester: pytest.Pytester) -> None:
    config = read(pytester, ini="dm_profile = debug\ndm_project_name = shop\ndm_commit = seed/main")
    assert (config.compose.profiles, config.compose.project_name, config.session.commit) == (("debug",), "shop", "seed/main")


# Other files than pytest.ini


TOML_STRINGS = """
dm_file = ["/a.yaml", "/b.yaml"]
dm_profile = "debug extra"
dm_commit = "seed"
dm_autouse = true
dm_timeout = 5
dm_spares = 2
"""
QUOTED = """
dm_file = ["/a.yaml", "/b.yaml"]
dm_profile = ["debug", "extra"]
dm_commit = "seed"
dm_autouse = "true"
dm_timeout = "5"
dm_spares = "2"
"""
NATIVE = QUOTED.replace('"true"', "true").replace('"5"', "5").replace('"2"', "2")
TABLES = {
    "ini_options": ("pyproject.toml", "tool.pytest.ini_options", TOML_STRINGS),
    "tool.pytest": ("pyproject.toml", "tool.pytest", NATIVE),
    "tool.pytest-quoted": ("pyproject.toml", "tool.pytest", QUOTED),
    "pytest.toml": ("pytest.toml", "pytest", NATIVE),
    "pytest.toml-quoted": ("pytest.toml", "pytest", QUOTED),
}


def read_toml(pytester: pytest.Pytester, name: str, table: str, text: str) -> DmConfig:
    """Read the settings that a table of a TOML file gives."""
    (pytester.path / name).write_text(f"[{table}]\n{text}\n")
    return read_config(pytester.parseconfig())


@by_name("place", TABLES)
def test_settings_may_be_in_toml(pytester: pytest.Pytester, place: str) -> None:
    config = read_toml(pytester, *TABLES[place])
    assert config.compose.files == ("/a.yaml", "/b.yaml")
    assert config.compose.profiles == ("debug", "extra")
    assert (config.session.commit, config.autouse, config.session.ready_timeout_s, config.spares) == ("seed", True, 5.0, 2)
    assert config.chosen


@by_name("apart", [True, False])
def test_every_setting_has_its_own_type_in_native_toml(pytester: pytest.Pytester, *, apart: bool) -> None:
    """Two settings go with others of them only in a file of their own."""
    settings = [s for s in SETTINGS if (s.name in ("keep_failed_to", "workers_share")) is apart]
    lines = []
    for setting in settings:
        written, _ = given(setting, "ini")
        text = written if setting.kind in ("flag", "number", "count") else f"'{written}'"
        lines.append(f"{setting.dest} = {f'[{text}]' if setting.kind in ('list', 'lines') else text}")
    config = read_toml(pytester, "pytest.toml", "pytest", "\n".join(lines))
    assert {s.name: value(config, s.name) for s in settings} == {s.name: given(s, "ini")[1] for s in settings}


def test_a_flag_and_a_number_of_native_toml_may_be_nothing(pytester: pytest.Pytester) -> None:
    config = read_toml(pytester, "pytest.toml", "pytest", "dm_settle = false\ndm_lock_timeout = 0\ndm_keep_failed_mib = 0.5")
    assert (config.settle, config.session.lock_timeout_s, config.keep_failed.limits.size_bytes) == (False, 0.0, 512 << 10)


@by_name(
    "line",
    [
        "dm_autouse = 1",
        "dm_timeout = true",
        "dm_timeout = -1",
        "dm_timeout = nan",
        "dm_spares = 1.5",
        "dm_spares = -1",
        "dm_commit = 3",
        "dm_file = 'compose.yaml'",
        "dm_profile = [1]",
    ],
)
def test_a_value_of_native_toml_that_makes_no_sense_is_named(pytester: pytest.Pytester, line: str) -> None:
    (pytester.path / "pytest.toml").write_text(f"[pytest]\n{line}\n")
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert line.split()[0] in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_the_working_directory_of_a_test_is_not_the_projects(tmp_path: Path, pytester: pytest.Pytester) -> None:
    """A guard for the tests above: pytester runs in a directory without an ini file of its own."""
    assert not (pytester.path / "pyproject.toml").exists()
