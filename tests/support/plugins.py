"""Plugins of dm-compose as users install them: a module, and beside it the entry point that names it."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path


def install(directory: Path, source: str, name: str = "acme") -> Path:
    """Install a plugin into a directory, which whoever runs dm-compose has to have in its path."""
    directory.mkdir(exist_ok=True)
    (directory / f"{name}_dm.py").write_text(textwrap.dedent(source))
    shutil.rmtree(directory / "__pycache__", ignore_errors=True)  # it may be of a file of the same second and size
    about = directory / f"{name}_dm-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dm\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[dm_compose]\n{name} = {name}_dm\n")
    return directory
