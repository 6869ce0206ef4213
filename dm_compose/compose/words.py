"""What the words of a Compose verb say: its own options, and the words that are none. Pure.

Only what stands before a one-off's command is Compose's: in `run web psql -h db` the `-h` is psql's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# The options that take a value, and the short names, of the verbs that dm-compose looks into (Compose 2.40; `from` is our own).
# Any other option counts as a flag.
WITH_VALUE = {
    "up": "attach exit-code-from from no-attach pull scale timeout wait-timeout",
    "create": "pull scale",
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
    """A verb's options by their long names, in their order (a flag's value is `true`), and its other words: services, and for
    `run` the service and its command.
    """

    verb: str
    options: tuple[tuple[str, str], ...]
    names: tuple[str, ...]

    def asks(self, flag: str) -> bool:
        """Whether a flag is given; the last one wins."""
        return ([value in _TRUE for name, value in self.options if name == flag] or [False])[-1]

    def values(self, option: str) -> list[str]:
        """Return what an option is given, which may be several times."""
        return [value for name, value in self.options if name == option]


def read_words(words: Sequence[str]) -> VerbWords:
    """Tell the options of a verb, the first word, from the words that are none. Never fails: Compose itself judges the words."""
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
    """Return what `-dt5` says: flags, and at the end perhaps one option with its value in this word or the next."""
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
