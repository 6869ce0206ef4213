"""Write docs/datastores.md from the built-in datastore modules: `python -m tools.datastores_page [FILE]`.

The modules are the only source. A row's sentences are the first paragraphs of the docstrings of the functions `data`,
`quiesce` and `check`. Only the stand-ins are named here, because no module uses that knowledge.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from dm_compose.core.containers import Image
from dm_compose.datastores import Datastore, ServiceFacts
from dm_compose.datastores.registry import Registry
from dm_compose.plugins import Plugins

OF_VENDOR = "Return the data path of the image's vendor."  # a rule that the paths show by themselves
PAGE = Path(__file__).parents[1] / "docs" / "datastores.md"
STAND_INS = {
    "mongo": "`nx-27017`, which speaks MongoDB's protocol over SQLite",
    "memcached": "a small server of the tests that speaks its text protocol",
}
EXAMPLES = {"bitnami*/": "bitnami/", "*/": "acme/", "*": "", "[0-9]": "1"}  # a pattern's wildcards, and what stands for them here

HEAD = """# Datastores

<!-- Written by `python -m tools.datastores_page`; a test compares it with the modules. Change these, not the page. -->

dm-compose recognizes {count} datastores by their images. It knows where their data lies, how to ask whether they
answer, and how to bring acknowledged writes to files before a commit freezes the stack. `dm-compose plan` shows the
datastore that it found for each service. If it does not recognize an image, [name the datastore in the compose
file](plan.md#overrides). A [plugin](plugins.md) adds a datastore in twenty lines.

**Tried** says how much to trust a row. The real engine was tried for {tried} of the {count}:
{names}.
The test suite commits and restores these again and again. All others are known from their documentation and source
code only. Their probes are tested with the bytes that the documentation shows, but nobody has committed and restored
the real server yet.

- **Data** is the directory in the container, for most images and then for those that have another one. The rule says
  which settings decide.
- **Before the freeze** is the work that a running server has to do. "Nothing" means that the server has written every
  acknowledged write to a file by itself, so that freezing its container is enough.
- **Checker** is the datastore's own, which `dm-compose commit --verify` runs on a clone of the commit. Every datastore
  is asked whether it answers.
- **First start**: some images make the data when they start for the first time, with a server that only their
  entrypoint's script uses. [`commit`](cli.md#what-commit-needs) waits for the end of that. They are those of
  {first}.
- **Images** are patterns of repositories. Registry host, tag and owner do not count:
  `registry.example/acme/postgres:17` is a Postgres.

| datastore | tried | data | before the freeze | checker | images |
|---|---|---|---|---|---|
"""


def built_in() -> list[Datastore]:
    """Return the built-in datastores by name, without those of installed plugins."""
    return sorted(Registry(Plugins([])), key=lambda datastore: datastore.name)


def page() -> str:
    """Return the text of the page."""
    known = built_in()
    tried = [datastore for datastore in known if datastore.tried]
    unknown = STAND_INS.keys() - {datastore.name for datastore in known if not datastore.tried}
    assert not unknown, f"no stand-in is needed for {', '.join(unknown)}"
    names = ", ".join(f"{datastore.name} {' and '.join(datastore.tried)}" for datastore in tried)
    first = ", ".join(datastore.name for datastore in known if datastore.entrypoint_ends)
    return HEAD.format(count=len(known), tried=len(tried), names=names, first=first) + "".join(map(row, known))


def row(datastore: Datastore) -> str:
    """Return a datastore's line of the table."""
    checker = first_paragraph(datastore.check) if datastore.check else "none"
    cells = (datastore.name, trial(datastore), data(datastore), before_the_freeze(datastore), checker, listed(datastore.images))
    return f"| {' | '.join(cells)} |\n"


def trial(datastore: Datastore) -> str:
    """Return on which versions it was tried, or that it was not."""
    if datastore.tried:
        return f"**on {' and '.join(datastore.tried)}**"
    stand_in = STAND_INS.get(datastore.name)
    return f"documentation only; a stand-in was tried: {stand_in}" if stand_in else "documentation only"


def data(datastore: Datastore) -> str:
    """Return the data paths of its images without any settings, then the rule of its function."""
    images: dict[tuple[str, ...], list[str]] = {}
    for pattern in datastore.images:
        images.setdefault(datastore.data_paths(ServiceFacts(Image(example(pattern)))), []).append(pattern)
    usual, *others = sorted(images, key=lambda paths: -len(images[paths]))
    parts = [listed(usual) or "none on disk", *(f"{listed(paths)} in {listed(images[paths])}" for paths in others)]
    rule = first_paragraph(datastore.data) if callable(datastore.data) else OF_VENDOR
    return "; ".join(parts) + ("" if rule == OF_VENDOR else f". Rule: {rule.removeprefix('Return ')}")


def before_the_freeze(datastore: Datastore) -> str:
    """Return the first paragraph of its hook's docstring."""
    if datastore.in_memory:
        return "nothing: its data is in memory only, no commit has it, and a restore leaves it empty"
    return first_paragraph(datastore.quiesce) if datastore.quiesce else "nothing"


def example(pattern: str) -> str:
    """Return a repository that fits a pattern."""
    for wildcard, text in EXAMPLES.items():
        pattern = pattern.replace(wildcard, text)
    return pattern


def listed(words: tuple[str, ...] | list[str]) -> str:
    """Return words as code, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def first_paragraph(function: Callable[..., object]) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(page())


if __name__ == "__main__":
    main()
