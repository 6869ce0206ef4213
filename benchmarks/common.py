"""Tools of all benchmarks: command lines, medians, tables, scratch file systems."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def arguments_parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of the command line that all benchmarks share. The caller may add options."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"measurements of each figure (default {rounds})")
    return parser


def arguments(description: str, *, rounds: int) -> argparse.Namespace:
    """Parse the command line that all benchmarks share."""
    return arguments_parser(description, rounds=rounds).parse_args()


def headline(title: str) -> None:
    """Print the title of what is measured, where, when and by which command."""
    now = circumstances()
    print(f"{title}\n{now['date']}, {now['machine']}\nrepeat: {now['command']}\n", flush=True)


def circumstances() -> dict[str, str]:
    """Return when, where and by which command something is measured."""
    module = Path(sys.argv[0]).stem
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
        "command": f"tools/with-engine .venv/bin/python -m benchmarks.{module} {' '.join(sys.argv[1:])}".rstrip(),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    widths = [max(len(str(line[i])) for line in [header, *rows]) for i in range(len(header))]
    for number, line in enumerate([header, *rows]):
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(flush=True)


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def spread(samples: Sequence[float]) -> str:
    """Return median and range in milliseconds."""
    return f"{statistics.median(samples) * 1000:.0f} ms ({min(samples) * 1000:.0f}-{max(samples) * 1000:.0f})"


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextlib.contextmanager
def scratch(kind: str, size_gib: int) -> Iterator[Path]:
    """Give a directory on this machine's own file system, or on a fresh loop-mounted xfs with reflink."""
    with tempfile.TemporaryDirectory(prefix="dm-bench-") as base:
        if kind != "xfs":
            yield Path(base)
            return
        image, mount = Path(base) / "image", Path(base) / "mount"
        mount.mkdir()
        with image.open("wb") as file:
            file.truncate(size_gib << 30)
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
        try:
            yield mount
        finally:
            subprocess.run(["umount", str(mount)], check=True)


def file_system(path: Path) -> str:
    """Return the type of the file system that holds `path`."""
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
