"""`fruit trust`: found a swarm, and see who may do what in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.amounts import line
from fruitd.cli.maintainer_options import JsonOption, command_group, key_words, read_file
from fruitd.maintainer.founding import describe_root, found_swarm
from fruitd.maintainer.mistakes import as_refusals
from swarm.trust.key_files import read_public_key, read_secret_key, write_new

app = command_group("Say whom a swarm trusts.")

_MAY = {
    "root": "say who holds these roles",
    "release": "sign releases",
    "freshness": "say that a release is still current",
    "operator": "admit nodes, hold and configure them",
}


@app.command("init")
def init(
    swarm: Annotated[str, typer.Option("--swarm", help="Name of the swarm.", metavar="NAME")],
    root_keys: Annotated[
        list[Path], typer.Option("--root-key", help="Secret key (.key); repeat it.", metavar="A.key")
    ],
    release_keys: Annotated[
        list[Path], typer.Option("--release-key", help="Public key (.pub); repeat it.", metavar="R.pub")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to make.", metavar="FILE")] = Path(
        "root.fruit"
    ),
    root_threshold: Annotated[
        int | None,
        typer.Option(help="Root keys that must agree to change it; usually the majority.", metavar="N"),
    ] = None,
    release_threshold: Annotated[
        int | None,
        typer.Option(help="Release keys that must sign a release; usually the majority.", metavar="N"),
    ] = None,
) -> None:
    """Found a swarm: make its trust root, signed by all root keys given.

    Every node gets this file. Root keys can later be locked away; release keys sign releases. The secret
    halves of the release keys are not needed here.

    \b
    Example:  fruit trust init --swarm orchard -o root.fruit
                --root-key ann.key --root-key ben.key --release-threshold 2
                --release-key cora.pub --release-key dan.pub --release-key eve.pub
    """
    with as_refusals():
        roots = [read_secret_key(path) for path in root_keys]
        releasers = [read_public_key(path) for path in release_keys]
        data = found_swarm(
            swarm, roots, releasers, root_threshold=root_threshold, release_threshold=release_threshold
        )
        write_new(output, data, 0o644)
    _print(describe_root(data))
    typer.echo(f"{output} made: put it on every node ([trust] root in fruitd.toml)")


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="A trust root, such as root.fruit.", metavar="FILE")],
    as_json: JsonOption = False,
) -> None:
    """Who may do what in a swarm, and who has signed that.

    Exit code 1 if too few root keys have signed it for nodes to accept.

    \b
    Example:  fruit trust show root.fruit
    """
    described = describe_root(read_file(file))
    if as_json:
        typer.echo(json.dumps(described, indent=2))
    else:
        _print(described)
    if not described["complete"]:
        raise typer.Exit(1)


def _print(root: dict[str, Any]) -> None:
    typer.echo(f"swarm {line(root['swarm'])}, trust root version {root['version']}")
    for role, held in root["roles"].items():
        keys = held["keys"]
        if not keys:
            typer.echo(f"nobody may yet {_MAY[role]} ({role})")
            continue
        who = "one key" if len(keys) == 1 else f"{held['threshold']} of these {len(keys)} keys together"
        typer.echo(f"{who} may {_MAY[role]} ({role}):")
        for key in keys:
            typer.echo(f"  {key_words(key)}")
    signers = ", ".join(key_words(key) for key in root["signed_by"]) or "nobody"
    threshold = root["roles"]["root"]["threshold"]
    enough = "enough" if root["complete"] else f"too few: {threshold} root keys are needed"
    typer.echo(f"signed by {signers}: {enough}")
