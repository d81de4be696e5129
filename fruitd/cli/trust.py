"""`fruit trust`: found a swarm, change who may do what in it, sign that from several places, and see it."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.amounts import line
from fruitd.cli.client import DEFAULT_SOCKET, NodeClient
from fruitd.cli.key_options import PassphraseFileOption, open_signers, signer_or_public
from fruitd.cli.maintainer_options import JsonOption, command_group, read_file
from fruitd.cli.trust_words import complete_words, root_lines
from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.expiry import parse_expiry
from fruitd.maintainer.founding import found_swarm
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.root_description import continued, describe_root
from fruitd.maintainer.root_signing import merge_roots, sign_root
from fruitd.maintainer.rotation import Change, Chosen, rotate
from swarm.durable import write_durably
from swarm.root_file import RootChain, load_chain
from swarm.trust.key_files import read_public_key, write_new
from swarm.trust.root import ROOT_KIND, Role

app = command_group("Say whom a swarm trusts.")

LIFETIME = "3y"
"""Longer than maintainers forget to look, shorter than it takes to lose touch with all of them."""

FileArgument = Annotated[Path, typer.Argument(help="A trust root file, such as root.fruit.", metavar="FILE")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The file to make.", metavar="FILE")]
PreviousOption = Annotated[
    Path | None,
    typer.Option(
        "--previous", help="The trust root file you had before: FILE has to continue it.", metavar="OLD"
    ),
]


def _keys_option(flag: str, what: str) -> Any:
    return typer.Option(flag, help=f"{what}; repeat it.", metavar="FILE")


def _threshold_option(what: str) -> Any:
    return typer.Option(help=f"{what}; usually the majority.", metavar="N")


@app.command("init")
def init(
    swarm: Annotated[str, typer.Option("--swarm", help="Name of the swarm.", metavar="NAME")],
    root_keys: Annotated[
        list[Path], _keys_option("--root-key", "May change all this: .key signs at once, .pub signs later")
    ],
    release_keys: Annotated[list[Path], _keys_option("--release-key", "Public key: may sign releases")],
    freshness_keys: Annotated[
        list[Path], _keys_option("--freshness-key", "Public key: may say what is still current")
    ] = [],  # noqa: B006 - typer reads it, nobody changes it
    operator_keys: Annotated[
        list[Path], _keys_option("--operator-key", "Public key: may admit and configure nodes")
    ] = [],  # noqa: B006 - as above
    output: OutputOption = Path("root.fruit"),
    root_threshold: Annotated[int | None, _threshold_option("Root keys that must agree")] = None,
    release_threshold: Annotated[int | None, _threshold_option("Release keys that must sign")] = None,
    freshness_threshold: Annotated[int | None, _threshold_option("Freshness keys that must sign")] = None,
    operator_threshold: Annotated[int | None, _threshold_option("Operator keys that must sign")] = None,
    expires: Annotated[
        str, typer.Option(help="When it has to be renewed: 3y, 90d, 2030-01-31 or never.", metavar="WHEN")
    ] = LIFETIME,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Found a swarm: make its trust root, signed by the root keys that are here.

    Every node gets this file. Who is elsewhere gives a public key and signs with `fruit trust sign`. Root keys can later
    be locked away; release keys sign releases. Only the public halves of other keys are needed.

    \b
    Example:  fruit trust init --swarm orchard -o root.fruit
                --root-key ann.key --root-key ben.pub --release-threshold 2
                --release-key cora.pub --release-key dan.pub --release-key eve.pub
    """
    with as_refusals():
        data = found_swarm(
            swarm,
            [signer_or_public(path, passphrase_file) for path in root_keys],
            [read_public_key(path) for path in release_keys],
            freshness_keys=[read_public_key(path) for path in freshness_keys],
            operator_keys=[read_public_key(path) for path in operator_keys],
            root_threshold=root_threshold,
            release_threshold=release_threshold,
            freshness_threshold=freshness_threshold,
            operator_threshold=operator_threshold,
            expires_at_s=parse_expiry(expires, time.time()),
        )
        write_new(output, data, 0o644)
    _print(data, output)


@app.command("rotate")
def rotate_command(
    old: Annotated[Path, typer.Argument(help="The trust root file that counts now.", metavar="OLD")],
    output: OutputOption,
    add: Annotated[
        list[str], typer.Option(help="Give a role to a key; repeat it.", metavar="ROLE=NEW.pub")
    ] = [],  # noqa: B006 - typer reads it, nobody changes it
    remove: Annotated[
        list[str], typer.Option(help="Take a role from a key; repeat it.", metavar="ROLE=NAME")
    ] = [],  # noqa: B006 - as above
    replace: Annotated[
        list[str],
        typer.Option(help="A new key takes all roles of an old one; repeat it.", metavar="NAME=NEW.pub"),
    ] = [],  # noqa: B006 - as above
    threshold: Annotated[
        list[str], typer.Option(help="Keys of a role that must agree; repeat it.", metavar="ROLE=N")
    ] = [],  # noqa: B006 - as above
    expires: Annotated[
        str | None,
        typer.Option(
            help=f"When it has to be renewed: 3y, 90d, 2030-01-31 or never; {LIFETIME} if something else changes.",
            metavar="WHEN",
        ),
    ] = None,
) -> None:
    """Change who may do what: write the next trust root, which nobody has signed yet.

    It counts once enough of those who hold the root role now, and enough of those who will, have signed it. Roles are
    root, release, freshness and operator; NAME is a key's name or id as `fruit trust show` tells it, or its .pub file.

    \b
    Example:  fruit trust rotate root.fruit -o root-2.fruit
                --replace dan=dan-new.pub --add operator=fay.pub
    """
    now_s = time.time()
    with as_refusals():
        change = Change(
            add=tuple((_role(words), read_public_key(Path(_after(words)))) for words in add),
            remove=tuple((_role(words), _chosen(_after(words))) for words in remove),
            replace=tuple(
                (_chosen(_before(words)), read_public_key(Path(_after(words)))) for words in replace
            ),
            thresholds={_role(words): _number(words) for words in threshold},
            expires_at_s=None if expires is None else parse_expiry(expires, now_s),
        )
        data = rotate(read_file(old), change, expires_at_s=parse_expiry(expires or LIFETIME, now_s))
        write_new(output, data, 0o644)
    _print(data, output)


@app.command("sign")
def sign(
    file: FileArgument,
    keys: Annotated[
        list[Path], typer.Option("--key", help="A root key; may be repeated.", metavar="NAME.key")
    ],
    previous: PreviousOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write here instead of into FILE itself.", metavar="NEW"),
    ] = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Add your signature to a trust root. Look at it first: fruit trust show FILE --previous OLD.

    Every copy of the file can be signed apart from the others, at the same time or one after the other; `merge` brings
    them together. With --previous, only what continues the file you trust is signed.

    \b
    Example:  fruit trust sign root-2.fruit --key ann.key --previous root.fruit
    """
    data = _continuing(read_file(file), previous)
    signed, new = sign_root(data, open_signers(keys, passphrase_file))
    with as_refusals():
        if output is not None:
            write_new(output, signed, 0o644)
        elif signed != data:
            write_durably(file, signed)
    for signer in new:
        typer.echo(f"{signer.public.name} ({signer.public.key_id}) has signed")
    _print(signed, output or file)


@app.command("merge")
def merge(
    files: Annotated[
        list[Path],
        typer.Argument(help="Copies of one trust root file, signed by different people.", metavar="FILE..."),
    ],
    output: OutputOption,
    previous: PreviousOption = None,
) -> None:
    """Bring together what people signed apart from each other. The order changes nothing.

    \b
    Example:  fruit trust merge from-ann.fruit from-ben.fruit -o root-2.fruit
    """
    data = _continuing(merge_roots([read_file(path) for path in files]), previous)
    with as_refusals():
        write_new(output, data, 0o644)
    _print(data, output)


@app.command("show")
def show(file: FileArgument, previous: PreviousOption = None, as_json: JsonOption = False) -> None:
    """Who may do what in a swarm, what changes, who has signed that, and who still has to.

    Exit code 1 if too few root keys have signed it for nodes to accept.

    \b
    Example:  fruit trust show root-2.fruit --previous root.fruit
    """
    data = read_file(file)
    before = read_file(previous) if previous is not None else None
    described = describe_root(data, now_s=time.time(), previous=before)
    if as_json:
        typer.echo(json.dumps(described, indent=2))
    else:
        for text in root_lines(described, str(file), time.time()):
            typer.echo(text)
    if not described["complete"]:
        raise typer.Exit(1)


@app.command("publish")
def publish(
    file: FileArgument,
    socket: Annotated[
        Path, typer.Option("--socket", envvar="FRUIT_SOCKET", help="The node's Unix socket.", metavar="PATH")
    ] = DEFAULT_SOCKET,
    as_json: JsonOption = False,
) -> None:
    """Hand a signed trust root to the node on this machine, which spreads it. Any node will do.

    All roots of the file that the node does not have are handed over, oldest first. One that too few have signed is
    refused before anything is sent.

    \b
    Example:  fruit trust publish root-2.fruit
    """
    with as_refusals(f"{file} is not published"):
        chain = load_chain(read_file(file))
    with closing(NodeClient(socket)) as client:
        newest = max((row["sequence"] for row in client.records(ROOT_KIND)), default=0)
        answers = []
        for record in chain.records:
            if record.sequence > newest or record is chain.newest_record:
                try:
                    outcome = client.offer(record.encode()).get("outcome")
                except RefusedError:
                    # A node that was given a later root does not want those before it; what matters is the newest.
                    if record is chain.newest_record:
                        raise
                    continue
                answers.append({"version": record.sequence, "outcome": outcome})
    if as_json:
        typer.echo(json.dumps({"schema": 1, "roots": answers}, indent=2))
    else:
        for answer in answers:
            typer.echo(f"trust root {answer['version']}: {line(answer['outcome'])}")
    if any(answer["outcome"] == "disputed" for answer in answers):
        raise RefusedError(
            "two different trust roots of one version are signed by enough: nodes act on neither; rotate again"
        )


def _continuing(data: bytes, previous: Path | None) -> bytes:
    if previous is not None:
        with as_refusals("trust root"):
            chain = RootChain.decode(data)
        continued(chain, read_file(previous))
    return data


def _print(data: bytes, file: Path) -> None:
    described = describe_root(data, now_s=time.time())
    for text in root_lines(described, str(file), time.time()):
        typer.echo(text)
    if described["complete"]:
        typer.echo(complete_words(described, str(file)))


def _before(words: str) -> str:
    return _pair(words)[0]


def _after(words: str) -> str:
    return _pair(words)[1]


def _pair(words: str) -> tuple[str, str]:
    before, equals, after = words.partition("=")
    if not (before and equals and after):
        raise UsageError(f"{words!r} has no = with something before and after it (fruit trust rotate --help)")
    return before, after


def _role(words: str) -> Role:
    try:
        return Role(_before(words))
    except ValueError as error:
        raise UsageError(f"{_before(words)!r} is no role; roles are {', '.join(Role)}") from error


def _number(words: str) -> int:
    if not _after(words).isdecimal() or len(_after(words)) > 3:
        raise UsageError(f"{words!r} does not end in a number of keys")
    return int(_after(words))


def _chosen(words: str) -> Chosen:
    return read_public_key(Path(words)) if words.endswith(".pub") else words
