"""Nothing that a remote says is believed: what could do harm here is refused with a clear error, and nothing is published."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.names import DEFAULT_BRANCH
from dm_compose.errors import DamagedError, DmError, UntrustedError
from dm_compose.remotes import Remote
from dm_compose.transfer import RemoteCheckup, verify_remote
from dm_compose.transfer.codec import compress_document
from dm_compose.transfer.manifests import PARENT_MANIFEST_NOTE, PARENT_NOTE
from tests.support.forging import Forge
from tests.support.transfers import DOT, SHOP, Side, change_page, directory_remote, write_pages


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    """A remote with a good commit on `master`, whose first commit is its parent."""
    ours = Side(tmp_path / "ours")
    write_pages(ours.data / "table", 40)
    (ours.data / "below").mkdir()
    (ours.data / "below" / "file").write_text("text")
    os.symlink("table", ours.data / "link")
    ours.commit("one")
    remote = directory_remote(tmp_path / "remote")
    ours.push(remote)
    change_page(ours.data / "table", 7, b"changed")
    ours.commit("two")
    ours.push(remote)
    ours.close()
    return remote


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Side]:
    side = Side(tmp_path / "theirs")
    yield side
    side.close()


def refused(side: Side, remote: Remote, *kinds: type[DmError]) -> str:
    """Assert that a fetch is refused and leaves nothing; return the message."""
    with pytest.raises(kinds or (UntrustedError,)) as raised:
        side.fetch(remote)
    assert side.store._database.commits(DOT) == []
    assert list((side.root / "store/objects").iterdir()) == []
    return raised.value.message


def _row(path: str, kind: str = "f", **changes: Any) -> list[Any]:
    fields = {"mode": 0o644, "uid": 0, "gid": 0, "mtime_ns": 0, "size": 0, "ref": "", "xattrs": []} | changes
    return [path, kind, *fields.values()]


def _append(*rows: list[Any]) -> Callable[[Any], None]:
    return lambda document: document["entries"].extend(rows)


def _set(path: str, column: int, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        (row,) = [row for row in document["entries"] if row[0] == path]
        row[column] = value

    return change


TREES = {
    "a path with ..": _append(_row("../outside", "d")),
    "a path with .. inside": _append(_row("below/../../outside", "d")),
    "an absolute path": _append(_row("/nonexistent/x", "p")),
    "a path below a symlink": _append(_row("link/x", "p")),
    "a path below a file": _append(_row("table/x", "p")),
    "a path below nothing": _append(_row("nowhere/x", "p")),
    "a path with a NUL": _append(_row("a\0b", "p")),
    "a path with an empty part": _append(_row("below//x", "p")),
    "a path of .": _append(_row(".", "d")),
    "a path that is too long": _append(_row("x" * 300, "p")),
    "a path that is a number": _append(_row(5, "p")),  # type: ignore[arg-type]
    "a path with half a surrogate": _append(_row("\ud800", "p")),
    "a character device": _append(_row("null", "c", ref="1:3")),
    "a block device": _append(_row("sda", "b", ref="8:0")),
    "an unknown kind": _append(_row("x", "z")),
    "a second root": _append(_row("", "l", ref="/nonexistent")),
    "a root that is a symlink": _set("", 1, "l"),
    "an order that puts a file before its directory": lambda d: d["entries"].append(d["entries"].pop(1)),
    "an object id that leads elsewhere": _set("table", 7, "../../../../nonexistent/x"),
    "an object id that is none": _set("table", 7, "0/0"),
    "a hard link to a symlink": _append(_row("hard", "h", ref="link")),
    "a hard link to nothing": _append(_row("hard", "h", ref="nothing")),
    "a hard link out of the tree": _append(_row("hard", "h", ref="../../x")),
    "an empty symlink": _append(_row("sym", "l", ref="")),
    "a negative mode": _set("table", 2, -1),
    "a mode beyond the permission bits": _set("table", 2, 0o100644),
    "a mode that is text": _set("table", 2, "0644"),
    "an owner that cannot be": _set("table", 3, 1 << 32),
    "a time that cannot be": _set("table", 5, 1 << 63),
    "an absurd size": _set("table", 6, 1 << 60),
    "a negative size": _set("table", 6, -5),
    "a size that is no number": _set("table", 6, True),
    "a directory with a size": _set("below", 6, 5),
    "a size that is not its object's": _set("table", 6, 4096),
    "an extended attribute of no namespace": _set("table", 8, [["evil", "00"]]),
    "an extended attribute that is not hex": _set("table", 8, [["user.x", "zz"]]),
    "an absurd extended attribute": _set("table", 8, [["user.x", "00" * 70_000]]),
    "extended attributes that are none": _set("table", 8, 7),
    "an entry with too few fields": lambda d: d["entries"].append(["x"]),
    "no root": lambda d: d["entries"].__delitem__(0),
    "no entries": lambda d: {"format": 1, "entries": []},
    "another format": lambda d: d.update(format=99),
    "no format": lambda d: {"entries": []},
    "a list": lambda d: {"format": 1, "entries": 5},
}


@pytest.mark.parametrize("what", TREES)
def test_a_tree_that_could_do_harm_is_refused(what: str, remote: Remote, theirs: Side) -> None:
    Forge(remote).tree(TREES[what]).publish()
    message = refused(theirs, remote)
    assert "data" in message or "commit" in message


def _objects(change: Callable[[list[Any]], Any]) -> Callable[[Any], None]:
    """Change the definition of each object."""

    def apply(document: Any) -> None:
        for row in document["objects"]:
            change(row)

    return apply


def _frames(change: Callable[[list[Any]], Any]) -> Callable[[Any], None]:
    def apply(document: Any) -> None:
        for row in document["frames"]:
            change(row)

    return apply


def _pieces(change: Callable[[list[Any]], Any]) -> Callable[[Any], None]:
    return _objects(lambda row: [change(piece) for piece in row[5]])


def _put(index: int, value: Any) -> Callable[[list[Any]], None]:
    def change(row: list[Any]) -> None:
        row[index] = value

    return change


TABLES = {
    "an object that is its own base": _objects(lambda row: row.__setitem__(3, row[0])),
    "a base that is nowhere": _objects(_put(3, "0" * 32 + "/1")),
    "a base that leads elsewhere": _objects(_put(3, "../../../nonexistent/x")),
    "an object id that leads elsewhere": _objects(_put(0, "../../../nonexistent/x")),
    "an absurd size": _objects(_put(1, 1 << 60)),
    "a negative size": _objects(_put(1, -1)),
    "another size": _objects(lambda row: row.__setitem__(1, row[1] + 4096)),
    "a digest that is none": _objects(_put(2, "xyz")),
    "a digest that is a number": _objects(_put(2, 7)),
    "no objects": lambda d: d.update(objects=[]),
    "a piece beyond its object": _pieces(_put(0, 1 << 40)),
    "a piece of nothing": _pieces(_put(1, 0)),
    "a piece of negative length": _pieces(_put(1, -1)),
    "a piece beyond its frame": _pieces(_put(3, 1 << 24)),
    "a piece of a frame that is not there": _pieces(_put(2, 1 << 20)),
    "pieces that overlap": _objects(lambda row: row[5].extend(row[5])),
    "a frame beyond its pack": _frames(_put(1, 1 << 40)),
    "a frame longer than its pack": _frames(_put(2, 1 << 40)),
    "an absurd frame": _frames(_put(3, 1 << 40)),
    "a frame that holds more than it says": _frames(lambda row: row.__setitem__(3, row[3] - 1)),
    "a frame that holds less than it says": _frames(lambda row: row.__setitem__(3, row[3] + 1)),
    "a frame of changes that is none": _frames(_put(4, 1)),
    "an absurd pack": lambda d: d.update(packs=[[pack, 1 << 40] for pack, _ in d["packs"]]),
    "a pack that is none": lambda d: d.update(packs=[["sha256:0", size] for _, size in d["packs"]]),
    "a pack that no commit has": lambda d: d.update(packs=[["sha256:" + "0" * 64, size] for _, size in d["packs"]]),
    "another format": lambda d: d.update(format=2),
    "no frames": lambda d: d.pop("frames"),
    "text for numbers": _pieces(_put(0, "0")),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_table_that_could_do_harm_is_refused(what: str, remote: Remote, theirs: Side) -> None:
    Forge(remote).table(TABLES[what]).publish()
    refused(theirs, remote, UntrustedError, DamagedError)


def test_other_contents_than_a_tables_digest_are_not_published(remote: Remote, theirs: Side) -> None:
    Forge(remote).table(_objects(_put(2, "0" * 64))).publish()
    refused(theirs, remote, UntrustedError, DamagedError)


def test_a_chain_without_an_end_is_refused(remote: Remote, theirs: Side) -> None:
    def circle(document: Any) -> None:
        refs = [row[0] for row in document["objects"]]
        for row, base in zip(document["objects"], refs[1:] + refs[:1], strict=True):
            row[3] = base

    forge = Forge(remote)
    forge.manifest = forge.manifest.__class__(**{**vars(forge.manifest), "tables": forge.manifest.tables[:1]})
    forge.table(circle).publish()
    refused(theirs, remote)


CONFIGS = {
    "another id": lambda d: d["commit"].update(id="0" * 32),
    "an id that leads elsewhere": lambda d: d["commit"].update(id="../../x"),
    "another parent": lambda d: d["commit"].update(parent="0" * 32),
    "a subdot that leads elsewhere": lambda d: d["commit"].update(subdots={"../x": next(iter(d["commit"]["subdots"].values()))}),
    "a subdot without a tree": lambda d: d["commit"]["subdots"].update(more=next(iter(d["commit"]["subdots"].values()))),
    "a manifest that leads elsewhere": lambda d: d["commit"]["subdots"]["data"].update(manifest="../../../x.manifest"),
    "a manifest of another subdot": lambda d: d["commit"]["subdots"]["data"].update(manifest="0" * 32 + "/other.manifest"),
    "a wrong count of files": lambda d: d["commit"]["subdots"]["data"].update(files=1_000_000),
    "a date without a zone": lambda d: d["commit"].update(created="2026-01-01T00:00:00"),
    "a date that is none": lambda d: d["commit"].update(created="yesterday"),
    "no message": lambda d: d["commit"].pop("message"),
    "another format": lambda d: d.update(format=7),
    "a list": lambda d: [],
}


@pytest.mark.parametrize("what", CONFIGS)
def test_a_commit_that_could_do_harm_is_refused(what: str, remote: Remote, theirs: Side) -> None:
    forge = Forge(remote)
    if what == "a list":
        forge.config(lambda _: [1])
    else:
        forge.config(CONFIGS[what])
    forge.publish()
    refused(theirs, remote)


MANIFESTS = {
    "another artifact": lambda d: d.update(artifactType="application/vnd.docker.container.image.v1+json"),
    "a layer of an unknown kind": lambda d: d["layers"][0].update(mediaType="text/plain"),
    "an absurd layer": lambda d: d["layers"][-1].update(size=1 << 40),
    "a layer of negative size": lambda d: d["layers"][-1].update(size=-1),
    "a digest of another kind": lambda d: d["layers"][-1].update(digest="md5:" + "0" * 32),
    "a digest that leads elsewhere": lambda d: d["layers"][-1].update(digest="sha256:../../../../nonexistent/x"),
    "no layers": lambda d: d.pop("layers"),
    "no annotations": lambda d: d.pop("annotations"),
    "a parent without a manifest": lambda d: d["annotations"].pop(PARENT_MANIFEST_NOTE),
    "another parent than it says": lambda d: d["annotations"].update({PARENT_NOTE: "0" * 32}),
    "a tree of no subdot": lambda d: d["layers"][0].pop("annotations"),
    "a tree of a subdot that leads elsewhere": lambda d: d["layers"][0].update(annotations={"dev.dotmesh.subdot": "../x"}),
    "two configs": lambda d: d["layers"].append(d["config"]),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_manifest_that_could_do_harm_is_refused(what: str, remote: Remote, theirs: Side) -> None:
    Forge(remote).raw_manifest(MANIFESTS[what])
    refused(theirs, remote)


def _zeros(count: int) -> bytes:
    return compress_document(b" " * count)


RUBBISH = [_zeros(200 << 20), b"", b"not zstd", _zeros(10) + _zeros(10), compress_document(b"[" * 100_000)]


@pytest.mark.parametrize("blob", RUBBISH, ids=["bomb", "empty", "text", "two frames", "brackets"])
def test_bombs_and_rubbish_are_refused_as_trees_and_as_tables(blob: bytes, remote: Remote, theirs: Side) -> None:
    forge = Forge(remote)
    forge.raw_tree(blob).publish()
    refused(theirs, remote, UntrustedError, DamagedError)
    forge = Forge(remote)
    forge.raw_table(blob).publish()
    refused(theirs, remote, UntrustedError, DamagedError)


def test_a_pack_that_decompresses_to_more_than_it_says_is_refused(remote: Remote, theirs: Side) -> None:
    bomb = compress_document(bytes(1 << 30))
    Forge(remote).pack(lambda data: (bomb + data)[: len(data)].ljust(len(data), b"\0")).publish()
    refused(theirs, remote, UntrustedError, DamagedError)


def test_more_than_the_disk_holds_is_refused_before_anything_is_written(remote: Remote, theirs: Side) -> None:
    def huge(document: Any) -> None:
        for row in document["objects"]:
            pieces = row[5]
            if pieces and pieces[0][2] >= 0:
                _, length, frame, start = pieces[0]
                row[1] = length << 18
                row[5] = [[number * length, length, frame, start] for number in range(1 << 10)]

    forge = Forge(remote)
    forge.table(huge)

    def sizes(document: Any) -> None:
        for row in document["entries"]:
            if row[1] == "f":
                row[6] = row[6] << 18

    forge.tree(sizes).publish()
    refused(theirs, remote, DmError)


def test_a_file_in_the_place_of_another_subdot_is_refused(tmp_path: Path, theirs: Side) -> None:
    """Restored into a tree, `db` would be written through the symlink."""
    ours = Side(tmp_path / "ours", "__root__", "db")
    (ours.root / "db" / "file").write_text("x")
    ours.commit()
    remote = directory_remote(tmp_path / "remote")
    ours.push(remote)
    forge = Forge(remote)
    assert [layer.subdot for layer in forge.manifest.trees] == ["__root__", "db"]
    forge.tree(_append(_row("db", "l", ref="/nonexistent"))).publish()
    assert "__root__" in refused(theirs, remote)


def test_an_object_of_another_dot_is_not_given_away(remote: Remote, theirs: Side) -> None:
    """A tree that names an object that is here gets it only when it knows what is in it."""
    secret = theirs.root / "data" / "secret"
    secret.write_text("secret")
    commit_id = theirs.commit("secret")
    ref = theirs.entries(commit_id)["secret"].ref
    forge = Forge(remote)

    def steal(document: Any) -> None:
        document["objects"].append([ref, 6, "0" * 64, None, 0, []])

    forge.table(steal)
    forge.tree(_append(_row("stolen", ref=ref, size=6))).publish()
    with pytest.raises(DamagedError, match=ref):
        theirs.fetch(remote)


def test_the_good_remote_is_accepted(remote: Remote, theirs: Side) -> None:
    Forge(remote).tree(lambda d: None).publish()
    assert len(theirs.fetch(remote, DEFAULT_BRANCH).commits) == 2


def test_verify_finds_what_fetch_refuses(remote: Remote) -> None:
    assert verify_remote(remote, SHOP).damage == ()
    Forge(remote).tree(TREES["a path with .."]).publish()
    found: RemoteCheckup = verify_remote(remote, SHOP)
    assert [d for d in found.damage if "leads out" in d.what]
    assert json.dumps(found.damage[0].what)
