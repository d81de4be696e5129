"""What the maintainers' commands share: how they are made, how they show keys, how they show work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.amounts import line
from fruitd.maintainer.mistakes import as_refusals
from swarm.root_file import ROOT_FILE_BYTES_MAX
from swarm.trust.key_files import read_bounded

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON (docs/releasing.md) instead of words.")]


def command_group(words: str) -> typer.Typer:
    """A group of commands that shows help without frames, so that it reads the same in a log."""
    return typer.Typer(
        help=words,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
    )


def read_file(path: Path) -> bytes:
    """A trust root or a manifest; raises `RefusedError` in words."""
    with as_refusals():
        return read_bounded(path, ROOT_FILE_BYTES_MAX)


def key_words(key: Mapping[str, str]) -> str:
    """A key as people see it: `ann (21fe31dfa154a261)`."""
    return f"{line(key['name'] or 'unnamed key')} ({key['id']})"


def field_line(label: str, words: object) -> str:
    """One line of a description, its label in a column of its own."""
    return f"  {label:<10}  {line(words)}"


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, fed with (bytes done, bytes in all); None where nobody would see it."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
