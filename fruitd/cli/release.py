"""`fruit release`: from an image to a release that every node believes."""

from __future__ import annotations

import json
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated

import attrs
import typer

from fruitd import gnu_gzip
from fruitd.amounts import line, size
from fruitd.cli.client import DEFAULT_SOCKET, PUBLISH_TIMEOUT_S, NodeClient
from fruitd.cli.key_options import PassphraseFileOption, open_signers
from fruitd.cli.known_options import (
    AnywayOption,
    AskSocketOption,
    ComparedOption,
    NewestTrustOption,
    NodesOption,
    gather,
)
from fruitd.cli.maintainer_options import JsonOption, command_group, field_line, progress_bar, read_file
from fruitd.cli.release_view import print_release
from fruitd.errors import FruitError, RefusedError, UsageError
from fruitd.maintainer.build import BuildParcel, ReleasePlan, build_release
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.inspect import describe_release, image_as_found, publish_request, verify_release
from fruitd.maintainer.merging import merge_release
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.parcels.advice import advice_on
from fruitd.maintainer.parcels.build import BuiltParcel
from fruitd.maintainer.review import Known
from fruitd.maintainer.root_description import SCHEMA
from fruitd.maintainer.signing import detached_signature, sign_release
from swarm.root_file import load_chain
from swarm.trust.key_files import write_new
from swarm.trust.signer import Signer

app = command_group("Build, sign, check and publish releases.")

FolderArgument = Annotated[Path, typer.Argument(help="The folder `fruit release build` made.", metavar="DIR")]
TrustOption = Annotated[
    Path, typer.Option("--trust", help="The swarm's trust root, root.fruit.", metavar="FILE")
]


KeysOption = Annotated[
    list[Path], typer.Option("--key", help="A release key; may be repeated.", metavar="NAME.key")
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
    older: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="An image that nodes may be running: a parcel that leads from there is built; repeat it. "
            "`nothing`: one for nodes that have none of these.",
            metavar="OLD",
        ),
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option("--key", help="Sign it at once with this release key.", metavar="NAME.key"),
    ] = None,
    nodes: NodesOption = None,
    socket: AskSocketOption = None,
    anyway: AnywayOption = "",
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Hash an image, and make its release's folder.

    The image is read once and stays where it is. The folder is then ready to be signed, by one key at once if --key says so.
    With --socket, the manifest of that node is the --previous one. Each --from builds a parcel: what nodes with that image have
    to fetch. That takes minutes; docs/images.md tells how to keep them small.

    \b
    Example:  fruit release build rootfs.img --release 2 --version 2026.11
                --resource org.fruit-testbed.os/rootfs --compatible raspberrypi,4
                --trust root.fruit --previous release-1/manifest -o release-2
                --from rootfs-1.img --from nothing
    """
    root_file = read_file(trust)
    with as_refusals(f"trust root {trust}"):
        known = gather(load_chain(root_file), channel=channel, nodes=nodes, socket=socket)
    plan = ReleasePlan(resource, release, version, tuple(compatible), channel, sequence, anyway)
    before = read_file(previous) if previous is not None else _newest(known)
    signers = open_signers(keys or (), passphrase_file)
    with progress_bar("hashing") as progress:
        build_release(
            image, output, plan, root_file,
            now_s=time.time(), previous=before, known=known, progress=progress,
            older=[None if place == "nothing" else Path(place) for place in older or ()],
            packing=_packing,
        )  # fmt: skip
    for key in signers:
        _sign(output, key, known, anyway)
    print_release(describe_release(output, known), output)


@app.command("sign")
def sign(
    folder: FolderArgument,
    keys: KeysOption,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the signature to a small file of its own; the folder stays as it is.",
            metavar="FILE",
        ),
    ] = None,
    previous: ComparedOption = None,
    nodes: NodesOption = None,
    trust: NewestTrustOption = None,
    anyway: AnywayOption = "",
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Add your signature to a release.

    The first signer signs the torrent and the manifest, and so fixes what all others sign, at the same time if they like.
    To sign on another machine, take the folder there; the image is not needed. Only the file of -o has to come back.

    \b
    Example:  fruit release sign release-2 --key cora.key
    Example:  fruit release sign release-2 --key dan.key -o release-2.dan
    """
    known = _known(folder, previous=previous, nodes=nodes, trust=trust)
    signers = open_signers(keys, passphrase_file)
    if output is None:
        for key in signers:
            _sign(folder, key, known, anyway)
        print_release(describe_release(folder, known), folder)
        return
    if len(signers) != 1:
        raise UsageError("one file holds one signature: give one --key with -o")
    made = detached_signature(folder, signers[0], known=known, anyway=anyway)
    with as_refusals():
        write_new(output, made.encode(), 0o644)
    typer.echo(f"{output}: signature of {made.signed_by} under {line(made.about)}")
    typer.echo(f"whoever collects signatures: fruit release merge {folder} {output}")


@app.command("merge")
def merge(
    folder: FolderArgument,
    others: Annotated[
        list[Path],
        typer.Argument(
            help="Signature files, other folders of this release, or manifests in them.", metavar="OTHER..."
        ),
    ],
) -> None:
    """Bring together what several people have signed.

    In any order, as often as you like. All or nothing: a signature under anything else is refused.

    \b
    Example:  fruit release merge release-2 release-2.dan from-eve/release-2
    """
    new = merge_release(folder, others)
    typer.echo(f"{new} new signature{'' if new == 1 else 's'} in {folder}")
    print_release(describe_release(folder), folder)


@app.command("show")
def show(
    folder: FolderArgument,
    previous: ComparedOption = None,
    nodes: NodesOption = None,
    socket: AskSocketOption = None,
    trust: NewestTrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a release is, what it would change on which hardware, and who has signed it.

    Exit code 1 if there are mistakes. The more it is given, the more it finds.

    \b
    Example:  fruit release show release-2 --nodes nodes.json
    Example:  fruit release show release-2 --socket /run/fruitd/api.sock
    """
    known = _known(folder, previous=previous, nodes=nodes, trust=trust, socket=socket)
    found = image_as_found(Path(Bundle.load(folder).plan.image))
    described = describe_release(folder, attrs.evolve(known, image_bytes_mtime_ns=found))
    if as_json:
        typer.echo(json.dumps(described, indent=2))
    else:
        print_release(described, folder)
    if described["mistakes"]:
        raise typer.Exit(1)


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
    trust: NewestTrustOption = None,
    anyway: AnywayOption = "",
    as_json: JsonOption = False,
) -> None:
    """Hand a signed release to the node on this machine.

    It checks it, spreads it and seeds the image. Any node will do. Once one other node holds the whole image this one may vanish.

    \b
    Example:  fruit release publish release-2
    """
    known = _known(folder, trust=trust)
    publish_request(folder, image, known=known, anyway=anyway)  # what needs no node is told without one
    known = _known(folder, trust=trust, socket=socket)
    request = publish_request(folder, image, known=known, anyway=anyway)
    with closing(NodeClient(socket)) as client:
        answer = client.post("/v1/publish", request, timeout_s=PUBLISH_TIMEOUT_S)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    typer.echo(f"published: release {line(answer.get('release'))} ({line(answer.get('version'))})")
    typer.echo(field_line("infohash", answer.get("infohash")))
    typer.echo("fruit nodes shows it spread")


def _packing(build: BuildParcel) -> BuiltParcel:
    with progress_bar("packing") as progress:
        parcel = build(progress=progress)
    source = f"from {parcel.older}" if parcel.older is not None else "from nothing"
    typer.echo(
        f"parcel {line(source)}: {size(parcel.length_bytes)}; {size(parcel.copied_bytes)} lie there already, "
        f"{size(parcel.fresh_bytes)} were packed"
    )
    if parcel.members:
        typer.echo(
            f"  {parcel.members} files in gzip ({size(parcel.member_bytes)}) come as what changed inside"
        )
    elif parcel.older is not None and (wrong := gnu_gzip.fault()):
        typer.echo(f"  not looked inside gzip: {line(wrong)}; install GNU gzip")
    for advice in advice_on(parcel):
        typer.echo(f"  {advice.words(parcel)}")
    return parcel


def _known(folder: Path, **given: Path | None) -> Known:
    bundle = Bundle.load(folder)
    return gather(bundle.chain, channel=bundle.plan.channel, **given)


def _newest(known: Known) -> bytes | None:
    """The manifest that a node holds: what a release of this channel carries on."""
    if len(known.manifests) > 1:
        raise RefusedError(
            "the node holds two manifests that contradict each other: say with --previous which one to go on from"
        )
    return known.manifests[0].encode() if known.manifests else None


def _sign(folder: Path, key: Signer, known: Known, anyway: str) -> None:
    signing = sign_release(folder, key, known=known, anyway=anyway)
    what = "torrent and manifest" if signing.first else "manifest"
    typer.echo(f"{key.public.name} ({key.public.key_id}) has signed the {what}")
