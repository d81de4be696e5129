"""`fruit member`: let nodes in, see who came by which token, and turn them away."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.amounts import line
from fruitd.cli.client import DEFAULT_SOCKET, NodeClient
from fruitd.cli.key_options import PassphraseFileOption, open_signers
from fruitd.cli.maintainer_options import JsonOption, command_group
from fruitd.cli.member_words import listed, next_step, paper_lines
from fruitd.cli.targets import Target, find_target
from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.admitting import (
    Paper,
    describe,
    merge_papers,
    missing_signatures,
    new_revocation,
    new_token,
    sign_paper,
)
from fruitd.maintainer.expiry import parse_expiry
from fruitd.maintainer.mistakes import as_refusals
from swarm.root_file import ROOT_FILE_BYTES_MAX, load_chain
from swarm.trust.key_files import read_bounded, replace_file, write_new
from swarm.trust.keys import KEY_NAME
from swarm.trust.root import TrustRoot
from swarm.trust.tokens import REVOKE_KIND

app = command_group("""Let nodes in, see by which token, turn them away.

    A swarm whose trust root names operators counts only members: nodes that made a certificate from a join token.""")

FileArgument = Annotated[
    Path, typer.Argument(help="A join token, its terms, or a revocation.", metavar="FILE")
]
KeysOption = Annotated[
    list[Path], typer.Option("--key", help="An operator key; repeat it.", metavar="NAME.key")
]
TrustOption = Annotated[
    Path, typer.Option("--trust", help="The swarm's newest trust root, root.fruit.", metavar="FILE")
]
SocketOption = Annotated[
    Path, typer.Option("--socket", envvar="FRUIT_SOCKET", help="The node's Unix socket.", metavar="PATH")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="The file to make.", metavar="FILE")
]


@app.command("token")
def token(
    name: Annotated[str, typer.Argument(help="What to call it, such as glasgow-batch-2.", metavar="NAME")],
    keys: KeysOption,
    trust: TrustOption,
    site: Annotated[str, typer.Option(help="Where its nodes are.", metavar="SITE")] = "",
    labels: Annotated[
        list[str],
        typer.Option("--label", help="What else is to be known of them; repeat it.", metavar="KEY=VALUE"),
    ] = [],  # noqa: B006 - typer reads it, nobody changes it
    expires: Annotated[
        str,
        typer.Option(help="Until when nodes may join by it: 90d, 12h, 2030-01-31 or never.", metavar="WHEN"),
    ] = "90d",
    nodes: Annotated[
        int, typer.Option("--nodes", min=0, help="How many nodes may join by it; 0: any number.", metavar="N")
    ] = 0,
    output: OutputOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Make a join token for a batch of cards, or for one.

    Put it on the card and name it in fruitd.toml: [node] token. At its first start the node makes its certificate from it;
    then the token may be deleted from the card. Who has the token can join: keep it as you keep a key.

    \b
    Example:  fruit member token glasgow-2 --key olga.key --trust root.fruit --site glasgow
                --label rack=3 --expires 90d --nodes 40

    \b
    Where two operators have to sign, the other signs NAME.terms, which holds no secret:
              fruit member sign glasgow-2.terms --key otto.key --trust root.fruit
              fruit member merge glasgow-2.token glasgow-2.terms --trust root.fruit
    """
    if output is None and not KEY_NAME.fullmatch(name):
        raise UsageError(f"{name!r} makes no file name: say where to put the token with -o FILE")
    path = output or Path(f"{name}.token")
    now_s, root = time.time(), _root(trust)
    terms = {
        "site": site,
        "labels": _labels(labels),
        "nodes_max": nodes,
        "expires_at_s": parse_expiry(expires, now_s),
    }
    paper = sign_paper(new_token(root, name, now_s, **terms), open_signers(keys, passphrase_file), root)
    with as_refusals():
        write_new(path, paper.encode(), 0o600)
        if missing_signatures(paper, root):
            write_new(path.with_suffix(".terms"), paper.without_secret().encode(), 0o644)
    _say(paper, root, path)


@app.command("sign")
def sign(
    file: FileArgument, keys: KeysOption, trust: TrustOption, passphrase_file: PassphraseFileOption = None
) -> None:
    """Add an operator's signature to a file.

    To a token, its terms, or a revocation.

    \b
    Example:  fruit member sign glasgow-2.terms --key otto.key --trust root.fruit
    """
    root, paper = _root(trust), Paper.read(file)
    paper = sign_paper(paper, open_signers(keys, passphrase_file), root)
    _replace(file, paper)
    _say(paper, root, file)


@app.command("merge")
def merge(
    file: FileArgument,
    others: Annotated[list[Path], typer.Argument(help="Copies that others signed.", metavar="OTHER...")],
    trust: TrustOption,
) -> None:
    """Bring into FILE the signatures that others gave to copies of it.

    \b
    Example:  fruit member merge glasgow-2.token glasgow-2.terms --trust root.fruit
    """
    root = _root(trust)
    paper = merge_papers(Paper.read(file), [Paper.read(other) for other in others], root)
    _replace(file, paper)
    _say(paper, root, file)


@app.command("show")
def show(
    file: FileArgument,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", help="The trust root, to judge its signatures by.", metavar="FILE"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a token or a revocation says, and who has signed it.

    Exit code 1 if --trust is given and too few operators have signed it.

    \b
    Example:  fruit member show glasgow-2.token --trust root.fruit
    """
    described = describe(Paper.read(file), None if trust is None else _root(trust))
    typer.echo(json.dumps(described, indent=2) if as_json else "\n".join(paper_lines(described)))
    if described["complete"] is False:
        raise typer.Exit(1)


@app.command("revoke")
def revoke(
    who: Annotated[str, typer.Argument(help="A node or a token: its name, or its id.", metavar="NODE|TOKEN")],
    keys: KeysOption,
    trust: TrustOption,
    reason: Annotated[str, typer.Option(help="Why; every node shows it.", metavar="TEXT")],
    keep_members: Annotated[
        bool, typer.Option("--keep-members", help="Of a token: who is in by it stays in; nobody follows.")
    ] = False,
    lift: Annotated[bool, typer.Option("--lift", help="Take a revocation back.")] = False,
    output: OutputOption = None,
    socket: SocketOption = DEFAULT_SOCKET,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Turn away a node, or a token and everybody who came by it.

    Published through the node on this machine, or written to FILE, for other operators to sign and to publish later.

    \b
    Example:  fruit member revoke pi-17 --key olga.key --trust root.fruit --reason stolen
    Example:  fruit member revoke glasgow-2 --keep-members --key olga.key --trust root.fruit --reason "all in"
    Example:  fruit member revoke pi-17 --lift --key olga.key --trust root.fruit --reason "found again"
    """
    if keep_members and lift:
        raise UsageError("--keep-members belongs to a revocation, --lift ends one: give one of them")
    root = _root(trust)
    target = _target(who, socket, offline=output is not None and not keep_members)
    if keep_members and not target.of_token:
        raise UsageError(f"{who} is a node: --keep-members is for tokens")
    paper = new_revocation(
        root,
        target.target_id,
        reason,
        time.time(),
        lifted=lift,
        kept=target.members if keep_members else (),
        after=target.said_before,
    )
    paper = sign_paper(paper, open_signers(keys, passphrase_file), root)
    if output is not None:
        with as_refusals():
            write_new(output, paper.encode(), 0o644)
        _say(paper, root, output)
        return
    missing = missing_signatures(paper, root)
    if missing:
        raise RefusedError(
            f"{missing} more operators have to sign: write it with -o FILE, and let them (fruit member sign)"
        )
    _publish(paper, socket)


@app.command("publish")
def publish(file: FileArgument, socket: SocketOption = DEFAULT_SOCKET) -> None:
    """Give a revocation, or a token's terms, to the swarm.

    Through the node on this machine.

    A token need not be published: the nodes that join by it do that. After a change of operator keys, sign its terms anew
    and publish them, and its nodes need not be visited.

    \b
    Example:  fruit member publish pi-17.revoke
    """
    _publish(Paper.read(file), socket)


@app.command("list")
def list_(socket: SocketOption = DEFAULT_SOCKET, as_json: JsonOption = False) -> None:
    """Every token, who came by it, and what is revoked.

    \b
    Example:  fruit member list
    """
    with closing(NodeClient(socket)) as client:
        answer = client.get("/v1/members")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        from rich.console import Console

        Console(highlight=False).print(listed(answer, time.time()))


def _root(path: Path) -> TrustRoot:
    with as_refusals(f"trust root {path}"):
        return load_chain(read_bounded(path, ROOT_FILE_BYTES_MAX)).newest


def _labels(words: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = [word.partition("=") for word in words]
    for label, equals, _ in pairs:
        if not equals:
            raise UsageError(f"--label {label!r} is not KEY=VALUE, such as rack=3")
    return tuple((label, value) for label, _, value in pairs)


def _target(who: str, socket: Path, *, offline: bool) -> Target:
    """Whom these words mean. A whole id needs no node to ask where the word is only written to a file."""
    whole = Target.of_id(who)
    if whole is not None and offline:
        return whole
    with closing(NodeClient(socket)) as client:
        return find_target(
            who, client.get("/v1/members"), client.get("/v1/nodes"), client.records(REVOKE_KIND)
        )


def _replace(file: Path, paper: Paper) -> None:
    with as_refusals():
        replace_file(file, paper.encode(), 0o644 if paper.secret is None else 0o600)


def _publish(paper: Paper, socket: Path) -> None:
    with closing(NodeClient(socket)) as client:
        answer: dict[str, Any] = client.offer(paper.record.encode())
    words = {
        "accepted": "the node takes it and spreads it",
        "known": "the node has it already",
        "disputed": "the node holds another word of the same moment: say it again, a second later",
    }
    outcome = str(answer["outcome"])
    if outcome not in ("accepted", "known"):
        raise RefusedError(words.get(outcome, "the node has a newer word about it; nothing was changed"))
    typer.echo(words[outcome])


def _say(paper: Paper, root: TrustRoot, file: Path) -> None:
    described = describe(paper, root)
    typer.echo("\n".join(paper_lines(described)))
    typer.echo(line(next_step(described, file)))
