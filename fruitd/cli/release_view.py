"""How a release looks on a terminal: what it is, what it changes on which hardware, who has signed, and its mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from fruitd.amounts import line, moment, size
from fruitd.cli.maintainer_options import field_line, key_words

Json = dict[str, Any]
_COLUMNS = ("hardware", "now", "then", "image", "known nodes")
_CELL_CHARS_MAX = 26
_KEEPING_MAX = 6


def print_release(release: Json, folder: Path) -> None:
    """A document of `describe_release`, in words."""
    hardware = ", ".join(release["compatible"])
    typer.echo(line(f"{release['resource']} release {release['release']} ({release['version']})"))
    typer.echo(field_line("hardware", hardware))
    typer.echo(field_line("swarm", f"{release['swarm']}, channel {release['channel']}"))
    typer.echo(field_line("manifest", f"{release['sequence']}, of {moment(release['issued_at_s'])}"))
    typer.echo(field_line("image", f"{release['image']} ({size(release['length_bytes'])})"))
    typer.echo(field_line("infohash", release["infohash"]))
    for parcel in release["parcels"]:
        source = f"from {parcel['from_image'] or parcel['from'] or 'nothing'}"
        percent = f"{100 * parcel['length_bytes'] / release['length_bytes']:.1f} % of the image"
        typer.echo(field_line("parcel", f"{line(source)}: {size(parcel['length_bytes'])}, {percent}"))
    if release["anyway"]:
        typer.echo(field_line("anyway", release["anyway"]))
    _print_changes(release)
    _print_signatures(release, folder)
    mistakes = release["mistakes"]
    if mistakes:
        typer.echo("mistakes:" if len(mistakes) > 1 else "a mistake:")
        for mistake in mistakes:
            typer.echo(f"  {mistake['what']}: {line(mistake['why'])}")


def _print_changes(release: Json) -> None:
    compared = release["compared_with"]
    what = f"compared with manifest {compared}" if compared is not None else "there is no manifest before it"
    typer.echo(f"what it changes ({what}):")
    rows = [_COLUMNS, *(_cells(change) for change in release["changes"])]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_COLUMNS))]
    for row in rows:
        typer.echo(
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    _print_keeping(release["changes"])


def _cells(change: Json) -> tuple[str, ...]:
    after = change["after"]
    then = "unchanged" if change["same"] else _numbered(after, "dropped")
    image = size(after["length_bytes"]) if after is not None else ""
    return _cut(change["hardware"]), _numbered(change["before"], "nothing"), then, image, _nodes(change)


def _print_keeping(changes: list[Json]) -> None:
    """Whom it does not reach, and why."""
    keeping = {(row["name"], row["why"]): None for c in changes if not c["same"] for row in c["keeping"]}
    shown = [f"{line(name)} {line(why)}" for name, why in list(keeping)[:_KEEPING_MAX]]
    if len(keeping) > _KEEPING_MAX:
        shown.append(f"{len(keeping) - _KEEPING_MAX} more (--json)")
    if shown:
        typer.echo(f"  keep what they have: {'; '.join(shown)}")


def _numbered(release: Json | None, none: str) -> str:
    return none if release is None else _cut(f"{release['release']} ({release['version']})")


def _nodes(change: Json) -> str:
    nodes, would = change["nodes"], change["would_take"]
    if nodes is None:
        return "not known"
    if change["same"] or not nodes:
        return str(nodes) if nodes else "none"
    return f"{nodes} would take it" if would == nodes else f"{would} of {nodes} would take it"


def _cut(words: str) -> str:
    shown = line(words)
    return shown if len(shown) <= _CELL_CHARS_MAX else shown[: _CELL_CHARS_MAX - 1] + "…"


def _print_signatures(release: Json, folder: Path) -> None:
    signer = release["torrent"]["signed_by"]
    typer.echo(field_line("torrent", f"signed by {key_words(signer)}" if signer else "not signed yet"))
    signers = ", ".join(key_words(key) for key in release["signed_by"])
    typer.echo(field_line("signed by", signers or "nobody yet"))
    missing = release["missing"]
    if missing:
        more = "1 more signature is" if missing == 1 else f"{missing} more signatures are"
        may = ", ".join(line(key["name"] or key["id"]) for key in release["not_signed_by"])
        typer.echo(f"{more} needed, of {may}: fruit release sign {folder} --key NAME.key")
    else:
        typer.echo(f"signed by enough: fruit release publish {folder}")
