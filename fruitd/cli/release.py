"""`fruit release`: from an image to a release that every node believes."""

from __future__ import annotations

import json
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.amounts import line, moment, size
from fruitd.cli.client import DEFAULT_SOCKET, PUBLISH_TIMEOUT_S, NodeClient
from fruitd.cli.maintainer_options import (
    JsonOption,
    command_group,
    field_line,
    key_words,
    progress_bar,
    read_file,
)
from fruitd.errors import FruitError
from fruitd.maintainer.build import ReleasePlan, build_release
from fruitd.maintainer.founding import SCHEMA
from fruitd.maintainer.inspect import describe_release, publish_request, verify_release
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.signing import sign_release
from swarm.trust.key_files import read_secret_key

app = command_group("Build, sign, check and publish releases.")

FolderArgument = Annotated[Path, typer.Argument(help="The folder `fruit release build` made.", metavar="DIR")]
TrustOption = Annotated[
    Path, typer.Option("--trust", help="The swarm's trust root, root.fruit.", metavar="FILE")
]


@app.command("build")
def build(
    image: Annotated[Path, typer.Argument(help="The image, as it will lie in the slot.", metavar="IMAGE")],
    resource: Annotated[
        str, typer.Option(help="What it is, e.g. org.fruit-testbed.os/rootfs.", metavar="URI")
    ],
    release: Annotated[
        int, typer.Option(help="Its number: higher than the one before, never used twice.", min=1)
    ],
    version: Annotated[str, typer.Option(help="Its name for people, e.g. 2026.11.", metavar="TEXT")],
    compatible: Annotated[
        list[str], typer.Option("--compatible", help="Hardware it runs on; repeat it.", metavar="NAME")
    ],
    trust: TrustOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.", metavar="DIR")],
    channel: Annotated[
        str, typer.Option(help="The stream of releases it belongs to.", metavar="NAME")
    ] = "stable",
    previous: Annotated[
        Path | None,
        typer.Option(
            help="The channel's manifest before this one (DIR/manifest of that release). Its releases for other "
            "resources and hardware are carried on; without it, this release is the channel's only one.",
            metavar="FILE",
        ),
    ] = None,
    sequence: Annotated[
        int | None,
        typer.Option(
            help="Order of the manifest in its channel: nodes follow the highest. Usually left out: one more than "
            "--previous, or else the seconds since 1970, which rise by themselves.",
            metavar="N",
        ),
    ] = None,
) -> None:
    """Hash an image, and make its release's folder.

    The image is read once and stays where it is. The folder is then ready to be signed.

    \b
    Example:  fruit release build rootfs.img --release 2 --version 2026.11
                --resource org.fruit-testbed.os/rootfs --compatible raspberrypi,4
                --trust root.fruit --previous release-1/manifest -o release-2
    """
    plan = ReleasePlan(resource, release, version, tuple(compatible), channel, sequence)
    root_file = read_file(trust)
    before = read_file(previous) if previous is not None else None
    with progress_bar("hashing") as progress:
        build_release(image, output, plan, root_file, now_s=time.time(), previous=before, progress=progress)
    _print(describe_release(output), output)


@app.command("sign")
def sign(
    folder: FolderArgument,
    keys: Annotated[
        list[Path], typer.Option("--key", help="A release key; may be repeated.", metavar="NAME.key")
    ],
) -> None:
    """Add your signature to a release.

    The first signer signs the torrent and the manifest, every further one the manifest, after checking that
    all of it agrees. To sign on another machine, take the folder there; the image is not needed.

    \b
    Example:  fruit release sign release-2 --key cora.key
    """
    with as_refusals():
        secrets = [read_secret_key(path) for path in keys]
    for key in secrets:
        signing = sign_release(folder, key)
        what = "torrent and manifest" if signing.first else "manifest"
        typer.echo(f"{key.name} ({key.key_id}) has signed the {what}")
    _print(describe_release(folder), folder)


@app.command("show")
def show(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """What a release is, and who has signed it.

    \b
    Example:  fruit release show release-2
    """
    described = describe_release(folder)
    if as_json:
        typer.echo(json.dumps(described, indent=2))
    else:
        _print(described, folder)


@app.command("verify")
def verify(
    folder: FolderArgument,
    trust: TrustOption,
    image: Annotated[
        Path | None, typer.Option(help="Check also that this file is the release's image.", metavar="IMAGE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a release as a node will.

    Exit code 1, with the reason, if a node would refuse it.

    \b
    Example:  fruit release verify release-2 --trust root.fruit --image rootfs.img
    """
    try:
        with progress_bar("hashing") if image else nullcontext() as progress:
            release = verify_release(folder, read_file(trust), image=image, progress=progress)
    except FruitError as error:
        if not as_json:
            raise
        typer.echo(
            json.dumps({"schema": SCHEMA, "ok": False, "why": str(error), "image_checked": False}, indent=2)
        )
        raise typer.Exit(1) from error
    checked = image is not None
    if as_json:
        typer.echo(json.dumps({"schema": SCHEMA, "ok": True, "why": "", "image_checked": checked}, indent=2))
        return
    typer.echo(
        f"{line(release.resource)} release {release.release} ({line(release.version)}): nodes will believe it"
    )
    typer.echo(f"{image} is its image" if checked else "the image itself was not looked at (--image)")


@app.command("publish")
def publish(
    folder: FolderArgument,
    socket: Annotated[
        Path, typer.Option("--socket", envvar="FRUIT_SOCKET", help="The node's Unix socket.", metavar="PATH")
    ] = DEFAULT_SOCKET,
    image: Annotated[
        Path | None, typer.Option(help="Where the image is now, if not where it was built.", metavar="IMAGE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hand a signed release to the node on this machine.

    It checks it, spreads it and seeds the image. Any node will do. Once one other node holds the whole image this one may vanish.

    \b
    Example:  fruit release publish release-2
    """
    request = publish_request(folder, image)
    with closing(NodeClient(socket)) as client:
        answer = client.post("/v1/publish", request, timeout_s=PUBLISH_TIMEOUT_S)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    typer.echo(f"published: release {line(answer.get('release'))} ({line(answer.get('version'))})")
    typer.echo(field_line("infohash", answer.get("infohash")))
    typer.echo("fruit nodes shows it spread")


def _print(release: dict[str, Any], folder: Path) -> None:
    hardware = ", ".join(release["compatible"])
    typer.echo(line(f"{release['resource']} release {release['release']} ({release['version']})"))
    typer.echo(field_line("hardware", hardware))
    typer.echo(field_line("swarm", f"{release['swarm']}, channel {release['channel']}"))
    typer.echo(field_line("manifest", f"{release['sequence']}, of {moment(release['issued_at_s'])}"))
    typer.echo(field_line("image", f"{release['image']} ({size(release['length_bytes'])})"))
    typer.echo(field_line("infohash", release["infohash"]))
    for row in release["carried_on"]:
        words = f"{row['resource']} release {row['release']} ({row['version']}) for {', '.join(row['compatible'])}"
        typer.echo(field_line("carries on", words))
    signer = release["torrent"]["signed_by"]
    typer.echo(field_line("torrent", f"signed by {key_words(signer)}" if signer else "not signed yet"))
    signers = ", ".join(key_words(key) for key in release["signed_by"])
    typer.echo(field_line("signed by", signers or "nobody yet"))
    missing = release["missing"]
    if missing:
        more = "1 more signature is" if missing == 1 else f"{missing} more signatures are"
        typer.echo(f"{more} needed: fruit release sign {folder} --key NAME.key")
    else:
        typer.echo(f"signed by enough: fruit release publish {folder}")
