"""The words of a Compose verb, told apart into options and other words. Pure.

Words after the service of `run` are not Compose's: in `run web psql -h db` the `-h` is an option of psql.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

VERBS = {
    *("attach", "build", "commit", "config", "cp", "create", "down", "events", "exec", "export", "images", "kill", "logs", "ls"),
    *("pause", "port", "ps", "publish", "pull", "push", "restart", "rm", "run", "scale", "start", "stats", "stop", "top"),
    *("unpause", "up", "version", "volumes", "wait", "watch"),
}
"""The verbs that each Compose has from 2.40 on. `Compose.has_verb` knows those of any other version too, and takes a process."""

# The options that take a value, and the short names, of the verbs that dm-compose looks into (Compose 2.40; `from` and
# `remote-name` are our own). Any other option counts as a flag.
WITH_VALUE = {
    "up": "attach exit-code-from from no-attach pull scale timeout wait-timeout",
    "create": "pull scale",
    "pull": "policy",
    "push": "remote-name",
    "run": "cap-add cap-drop entrypoint env env-from-file label name publish pull user volume workdir",
    "down": "rmi timeout",
}
SHORT = {
    "up": {"t": "timeout"},
    "run": {"e": "env", "l": "label", "p": "publish", "u": "user", "v": "volume", "w": "workdir"},
    "down": {"t": "timeout", "v": "volumes"},
}
_TRUE = ("1", "t", "T", "true", "TRUE", "True")  # as Go reads a boolean


@dataclass(frozen=True)
class VerbWords:
    """A verb with its options and its other words, both in their order.

    Options have their long names; the value of a flag is `true`. `names` are services, and for `run` the service and its
    command.
    """

    verb: str
    options: tuple[tuple[str, str], ...]
    names: tuple[str, ...]

    def asks(self, flag: str) -> bool:
        """Whether a flag is given. The last occurrence wins."""
        return ([value in _TRUE for name, value in self.options if name == flag] or [False])[-1]

    def values(self, option: str) -> list[str]:
        """Return all values of an option, which may be given several times."""
        return [value for name, value in self.options if name == option]


def read_words(words: Sequence[str]) -> VerbWords:
    """Tell options from other words; the first word is the verb. Never fails, because Compose itself judges the words."""
    verb, *rest = words
    options: list[tuple[str, str]] = []
    names: list[str] = []
    following = iter(rest)
    for word in following:
        if word == "--":
            names += following
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            takes_value = not equals and name in WITH_VALUE.get(verb, "").split()
            options.append((name, next(following, "") if takes_value else value if equals else "true"))
        elif word.startswith("-") and word != "-":
            options += _short_options(verb, word[1:], following)
        else:
            names.append(word)
            if verb == "run":
                names += following
    return VerbWords(verb, tuple(options), tuple(names))


def _short_options(verb: str, letters: str, following: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of a word such as `-dt5`: flags, and perhaps one option at the end, with its value here or next."""
    for position, letter in enumerate(letters, 1):
        name = SHORT.get(verb, {}).get(letter, {"h": "help"}.get(letter, letter))
        rest = letters[position:]
        if name in WITH_VALUE.get(verb, "").split():
            yield name, rest.removeprefix("=") if rest else next(following, "")
            return
        if rest.startswith("="):
            yield name, rest[1:]
            return
        yield name, "true"
