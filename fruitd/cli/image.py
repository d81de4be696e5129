"""`fruit image`: a root file system with fruitd in it, and the disk of a node that GRUB starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fruitd.amounts import size
from fruitd.cli.maintainer_options import command_group
from fruitd.errors import UsageError

app = command_group("Make system images and disks.")

MIB = 1024 * 1024
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The file to make.", metavar="FILE")]


@app.command("root")
def root(
    output: OutputOption,
    fruitd: Annotated[
        str,
        typer.Option(help="What pip installs as fruitd: a wheel, a folder, a requirement.", metavar="WHAT"),
    ] = "fruitd",
    packaging: Annotated[
        Path, typer.Option(help="The project's folder `packaging`: units, users, rules.", metavar="DIR")
    ] = Path("packaging"),
    base: Annotated[
        Path | None,
        typer.Option(help="Debian as an archive: used if it is there, made and kept if not.", metavar="FILE"),
    ] = None,
    size_mib: Annotated[int, typer.Option("--size", help="Size in MiB: the slots'.", min=64)] = 512,
    overlay: Annotated[
        list[Path] | None,
        typer.Option(help="Folder whose files go over all others; repeat it.", metavar="DIR"),
    ] = None,
    enable: Annotated[list[str] | None, typer.Option(help="One more unit to enable; repeat it.")] = None,
    constraints: Annotated[Path | None, typer.Option(help="For pip.", metavar="FILE")] = None,
) -> None:
    """Make a root image for PCs and virtual machines: Debian, its kernel, fruitd as a service.

    It is the same in both slots, is mounted read-only, and keeps what changes in /var, which is the data partition.
    Needs root, a Debian mirror, and the packages mmdebstrap and e2fsprogs.

    \b
    Example:  sudo fruit image root --fruitd . --base debian.tar -o root.img
    """
    from fruitd.image.root import RootPlan, check_root, make_base, make_root

    check_root()
    _new(output)
    archive = base if base is not None else output.with_suffix(".base.tar")
    if not archive.exists():
        typer.echo(f"Asking Debian's mirrors for {archive} ...")
        make_base(archive)
    plan = RootPlan(
        archive, size_mib * MIB, fruitd, packaging, constraints, tuple(overlay or ()), tuple(enable or ())
    )
    make_root(plan, output)
    if base is None:
        archive.unlink()
    typer.echo(f"{output}: {size(output.stat().st_size)}; for `fruit image disk` and `fruit release build`")


@app.command("disk")
def disk(
    image: Annotated[Path, typer.Argument(help="The root image of its first slot.", metavar="IMAGE")],
    output: OutputOption,
    slot_mib: Annotated[
        int | None, typer.Option("--slot", help="MiB of each slot; usually the image's size.", min=1)
    ] = None,
    data_mib: Annotated[int, typer.Option("--data-size", help="MiB of the data partition.", min=8)] = 256,
    data: Annotated[
        Path | None, typer.Option(help="Folder that becomes /var: etc/fruitd/fruitd.toml, ...", metavar="DIR")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="fruit.cfg: settings of this machine for grub.cfg.", metavar="FILE")
    ] = None,
    grub_cfg: Annotated[
        Path, typer.Option("--grub-cfg", help="The project's grub.cfg.", metavar="FILE")
    ] = Path("packaging/grub/grub.cfg"),
    both: Annotated[bool, typer.Option("--both", help="Put the image into both slots.")] = False,
) -> None:
    """Make the disk of a node that GRUB starts from a BIOS: loader, two slots, data partition.

    Write it to a real disk with dd, or start it: qemu-system-x86_64 -m 512 -drive file=disk.img,format=raw,if=virtio

    \b
    Example:  fruit image disk root.img --data var --settings fruit.cfg -o disk.img
    """
    from fruitd.image.disk import DiskPlan, make_disk

    _new(output)
    try:
        image_bytes = image.stat().st_size
        words = settings.read_text() if settings is not None else ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{image if settings is None else settings}: cannot be read: {error}") from error
    slot_bytes = slot_mib * MIB if slot_mib is not None else image_bytes
    table = make_disk(DiskPlan(image, slot_bytes, data_mib * MIB, grub_cfg, words, data, both), output)
    typer.echo(f"{output}: {size(output.stat().st_size)}")
    for number, partition in enumerate(table.partitions, 1):
        typer.echo(f"  {number}  {partition.name:<10}  {size(partition.sectors * 512)}")


def _new(output: Path) -> None:
    if output.exists():
        raise UsageError(f"{output} is there already; remove it, or name another --output")
