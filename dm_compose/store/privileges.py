"""Files that give rights to whoever runs them, and the mark that says that they came from a remote.

Below the engine's own directory, which only root can enter, they are harmless. In a directory of the host they are not: whoever
may push to a remote could have root make a set-user-id program where any user can run it.
"""

from __future__ import annotations

from dm_compose.core.tree import FILE, Manifest

_SET_ID = 0o6000  # on a directory, set-group-id says whose the new files are, and gives no rights
_NAMESPACES = ("security.", "trusted.")
_MARK = "privileged."


def privileged_path(tree: Manifest) -> str | None:
    """Return the first path with set-id bits, capabilities or other attributes that only root may set. None if there is none."""
    for path, entry in tree.entries.items():
        if (entry.kind == FILE and entry.mode & _SET_ID) or any(name.startswith(_NAMESPACES) for name, _ in entry.xattrs):
            return path
    return None


def mark_of(manifest: str) -> str:
    """Return the name of the store's setting that says that a manifest with such files came from a remote.

    The setting's value is the path of one of them.
    """
    return f"{_MARK}{manifest}"
