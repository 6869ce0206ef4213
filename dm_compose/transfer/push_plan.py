"""Deciding which objects a push sends for a commit, given the parent on the remote. Pure.

Chains of bases stay short. Every eighth version of a file is described by the version eight before it, every 64th by the one 64
before, and so on. So version n needs at most 7 * log8(n) steps. A file starts anew, without a base, when the steps together hold
more than half of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dm_compose.core.names import SubdotName
from dm_compose.core.tree import FILE, Manifest
from dm_compose.remotes.names import Digest
from dm_compose.transfer.manifests import Descriptor
from dm_compose.transfer.tables import Definition, Table, chain, closure

RADIX = 8
MAX_TABLES = 16
MAX_PACKS = 128  # a commit that needs more packs sends the contents of the smallest ones again, in few packs
KEPT_PACKS = 64

Trees = Mapping[SubdotName, Manifest]


@dataclass(frozen=True)
class RemoteParent:
    """The parent of a commit, as the remote has it: its trees, and tables that define its objects and others.

    The parent's tables are last, in the order of its manifest. Tables of earlier commits may come before them. Where several
    tables define an object, the last one counts.
    """

    tables: tuple[tuple[Descriptor, Table], ...] = ()
    trees: Trees = field(default_factory=dict)

    @property
    def definitions(self) -> dict[str, Definition]:
        """Every object that the tables define."""
        return {ref: d for _, table in self.tables for ref, d in table.definitions.items()}

    @property
    def packs(self) -> dict[Digest, int]:
        """The sizes of all packs that the tables need."""
        return {digest: size for _, table in self.tables for digest, size in table.packs.items()}


@dataclass(frozen=True)
class ObjectToSend:
    """An object that has to be sent. `before` is the object that its path had in the parent, if the remote has that object."""

    ref: str
    size: int
    before: str | None


def objects_to_send(trees: Trees, known: Mapping[str, Definition], parents: Trees) -> list[ObjectToSend]:
    """Return the objects of `trees` that are not `known` to the remote, in the order of the trees."""
    found: dict[str, ObjectToSend] = {}
    for subdot, manifest in sorted(trees.items()):
        old = parents[subdot].entries if subdot in parents else {}
        for path, entry in manifest.entries.items():
            if entry.kind == FILE and entry.ref not in known and entry.ref not in found:
                before = old.get(path)
                base = before.ref if before is not None and before.kind == FILE and before.ref in known else None
                found[entry.ref] = ObjectToSend(entry.ref, entry.size, base)
    return list(found.values())


def choose_base(known: Mapping[str, Definition], before: str) -> tuple[str, int]:
    """Return the base of the version that follows `before`, and the number of that version."""
    versions = chain(known, before)
    number = versions[0].version + 1
    step = 1
    while number % (step * RADIX) == 0:
        step *= RADIX
    base = next((d for d in versions if d.version <= number - step), versions[-1])
    return base.ref, number


def pays(known: Mapping[str, Definition], base: str, changed_bytes: int, size: int) -> bool:
    """Whether to describe a file of `size` bytes by its base, of which `changed_bytes` differ, rather than whole."""
    return 2 * (changed_bytes + sum(d.stored_bytes for d in chain(known, base)[:-1])) <= size


def crowded(needed: Mapping[str, Definition], refs: Iterable[str]) -> set[str]:
    """Return the objects to send again, whole, because the commit would else need too many packs. Usually there are none."""
    held: dict[Digest, int] = {}
    for definition in needed.values():
        for piece in definition.pieces:
            if piece.frame is not None:
                held[piece.frame.pack] = held.get(piece.frame.pack, 0) + piece.length
    if len(held) <= MAX_PACKS:
        return set()
    small = set(sorted(held, key=lambda pack: held[pack])[: len(held) - KEPT_PACKS])
    return {ref for ref in refs if any(p.frame and p.frame.pack in small for d in chain(needed, ref) for p in d.pieces)}


def arrange_tables(refs: Iterable[str], new: Table, known: RemoteParent, *, what: str) -> tuple[Table, tuple[Descriptor, ...]]:
    """Return the table to write for a commit that has the objects `refs`, and the parent's tables that stay beside it.

    The written table has no definition that the commit does not need. It takes in old tables that are at most twice as large as
    itself. So there are few tables, and a definition is written again a few times only. The written table goes last in the
    manifest, because the last definition of an object counts. Errors name the commit as `what`.
    """
    everything = {**known.definitions, **new.definitions}
    needed = closure(everything, refs, what=what)
    held = [[ref for ref in table.definitions if ref in needed and ref not in new.definitions] for _, table in known.tables]
    merged = {ref: d for ref, d in new.definitions.items() if ref in needed}
    kept = {number for number, refs_held in enumerate(held) if refs_held}
    for number in sorted(kept, key=lambda n: len(held[n])):
        if merged and (len(held[number]) <= 2 * len(merged) or len(kept) >= MAX_TABLES):
            merged.update({ref: needed[ref] for ref in held[number]})
            kept.remove(number)
    sizes = {**known.packs, **new.packs}
    packs = {p.frame.pack: sizes[p.frame.pack] for d in merged.values() for p in d.pieces if p.frame is not None}
    return Table(merged, packs), tuple(known.tables[number][0] for number in sorted(kept))


def needed_packs(definitions: Iterable[Definition], sizes: Mapping[Digest, int]) -> tuple[Descriptor, ...]:
    """Return the packs that definitions need, sorted by digest."""
    packs = {piece.frame.pack for d in definitions for piece in d.pieces if piece.frame is not None}
    return tuple(Descriptor(pack, sizes[pack]) for pack in sorted(packs))
