"""Make one transfer in a process of its own, as a command of dm-compose would; print its report as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dm_compose.core.commit import CommitDraft
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, DotName, SubdotName
from dm_compose.remotes import RemoteName, RemoteUrl, open_remote
from dm_compose.store.local.store import LocalStore
from dm_compose.transfer import fetch, push


def main() -> None:
    words = sys.argv[1:]
    verb, store_path, where = words
    dot, name = DotName("shop"), RemoteName.parse("admin/shop")
    store = LocalStore(Path(store_path))
    if dot not in store.dots():
        store.create_dot(dot)
    head = store.branches(dot).get(DEFAULT_BRANCH)
    if verb == "commit":
        directories = {SubdotName(item.name): str(item) for item in Path(where).iterdir()}
        entry = store.prepare_commit(dot, MAIN_WORKTREE, directories)
        store.capture(entry)
        store.publish(entry, CommitDraft("benchmark", "me"))
        print("{}")
    elif verb == "export":
        assert head is not None
        store.export(dot, head, where)
        print("{}")
    elif verb == "push":
        done = push(store, dot, DEFAULT_BRANCH, open_remote(RemoteUrl.parse(where)), name)
        print(json.dumps({"bytes": done.sent_bytes}))
    else:
        got = fetch(
            open_remote(RemoteUrl.parse(where)), name, DEFAULT_BRANCH, store, dot, head=head, depth=1 if verb == "tip" else None
        )
        store._database.set_ref(dot, "branch", DEFAULT_BRANCH, got.head)
        print(json.dumps({"bytes": got.received_bytes}))
    store.close()


if __name__ == "__main__":
    main()
