"""`fruit freshness`: say that a channel's manifest is still the newest. Made to be run by a timer."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from fruitd.amounts import line, moment
from fruitd.cli.client import DEFAULT_SOCKET, NodeClient
from fruitd.cli.key_options import PassphraseFileOption, open_signers
from fruitd.cli.known_options import held_records
from fruitd.cli.maintainer_options import JsonOption, command_group, field_line, key_words, read_file
from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.cosigning import more_words, needed_words
from fruitd.maintainer.freshness import (
    VALID_FOR,
    Held,
    check_fresh_role,
    check_same,
    describe_fresh,
    fresh_words,
    merge_fresh,
    missing_signatures,
    parse_valid_for,
    read_fresh,
    said_fresh,
    sign_fresh,
)
from fruitd.maintainer.mistakes import as_refusals
from swarm.durable import write_durably
from swarm.news.record import RECORD_BYTES_MAX, Record
from swarm.root_file import load_root
from swarm.trust.freshness import FRESH_KIND
from swarm.trust.key_files import read_bounded, write_new
from swarm.trust.root import ROOT_KIND, TrustRoot, read_root

app = command_group("""Say that the manifest which this node holds is the newest, now.

    Run it by a timer, well within --valid-for: a node that hears nothing newer for that long knows that it may be kept in the
    past, says so, and keeps what it has. Refused where this node is behind or in doubt, or this machine's clock is.

    \b
    Example:  fruit freshness --key fred.key --channel stable

    \b
    Where two must say it together:
              fruit freshness --key fred.key -o stable.fresh
              fruit freshness sign stable.fresh --key gail.key --trust root.fruit
              fruit freshness publish stable.fresh""")

FileArgument = Annotated[Path, typer.Argument(help="What `fruit freshness -o FILE` wrote.", metavar="FILE")]
KeysOption = Annotated[
    list[Path] | None, typer.Option("--key", help="A freshness key; may be repeated.", metavar="NAME.key")
]
SocketOption = Annotated[
    Path, typer.Option("--socket", envvar="FRUIT_SOCKET", help="The node's Unix socket.", metavar="PATH")
]
TrustOption = Annotated[
    Path, typer.Option("--trust", help="The swarm's newest trust root, root.fruit.", metavar="FILE")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing when all is well.")]


@app.callback(invoke_without_command=True, no_args_is_help=True)
def freshness(
    context: typer.Context,
    keys: KeysOption = None,
    channel: Annotated[str, typer.Option(help="The stream of releases.", metavar="NAME")] = "stable",
    valid_for: Annotated[
        str,
        typer.Option(help="How long nodes may rely on it, e.g. 36h, 7d, 2w.", metavar="TIME"),
    ] = VALID_FOR,
    socket: SocketOption = DEFAULT_SOCKET,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it to a file, for others to sign too.", metavar="FILE"),
    ] = None,
    passphrase_file: PassphraseFileOption = None,
    quiet: QuietOption = False,
) -> None:
    if context.invoked_subcommand is not None:
        return
    if not keys:
        raise UsageError("say with which freshness key to sign: --key NAME.key")
    valid_for_s = parse_valid_for(valid_for)
    with closing(NodeClient(socket)) as client:
        root = _newest_root(client)
        check_fresh_role(root)
        said = said_fresh(root, channel, _held(client, channel), now_s=time.time(), valid_for_s=valid_for_s)
        record = sign_fresh(said, open_signers(keys, passphrase_file), root)
        if output is not None:
            with as_refusals():
                write_new(output, record.encode(), 0o644)
        else:
            _publish(client, record, root)
    if not quiet:
        typer.echo(line(fresh_words(read_fresh(record))))
        if output is not None:
            typer.echo(_next_words(record, root, output))


@app.command("sign")
def sign(
    file: FileArgument,
    trust: TrustOption,
    keys: KeysOption = None,
    socket: Annotated[
        Path | None,
        typer.Option("--socket", help="See that this node holds the same manifest.", metavar="PATH"),
    ] = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Add your signature to what somebody has said.

    \b
    Example:  fruit freshness sign s.fresh --key gail.key --trust root.fruit
    """
    if not keys:
        raise UsageError("say with which freshness key to sign: --key NAME.key")
    record, root = _read(file), _read_trust(trust)
    typer.echo(line(fresh_words(read_fresh(record))))
    if socket is not None:
        with closing(NodeClient(socket)) as client:
            check_same(record, _held(client, read_fresh(record).channel))
    record = sign_fresh(record, open_signers(keys, passphrase_file), root)
    _write(file, record)
    typer.echo(_next_words(record, root, file))


@app.command("merge")
def merge(
    file: FileArgument,
    others: Annotated[list[Path], typer.Argument(help="Copies that others have signed.", metavar="OTHER...")],
    trust: TrustOption,
) -> None:
    """Bring together what several people have signed.

    \b
    Example:  fruit freshness merge s.fresh gails.fresh --trust root.fruit
    """
    root = _read_trust(trust)
    record = merge_fresh([_read(path) for path in (file, *others)], root)
    _write(file, record)
    typer.echo(_next_words(record, root, file))


@app.command("show")
def show(file: FileArgument, trust: TrustOption, as_json: JsonOption = False) -> None:
    """What somebody has said, and who has signed it.

    Exit code 1 if too few have.

    \b
    Example:  fruit freshness show stable.fresh --trust root.fruit
    """
    record, root = _read(file), _read_trust(trust)
    described = describe_fresh(record, root)
    if as_json:
        typer.echo(json.dumps(described, indent=2))
    else:
        typer.echo(line(fresh_words(read_fresh(record))))
        typer.echo(field_line("swarm", described["swarm"]))
        typer.echo(field_line("manifest", described["manifest_hash"]))
        typer.echo(field_line("until", moment(described["at_s"] + described["valid_for_s"])))
        signers = ", ".join(key_words(key) for key in described["signed_by"])
        typer.echo(field_line("signed by", signers or "nobody yet"))
        typer.echo(_next_words(record, root, file))
    if not described["complete"]:
        raise typer.Exit(1)


@app.command("publish")
def publish(file: FileArgument, socket: SocketOption = DEFAULT_SOCKET, quiet: QuietOption = False) -> None:
    """Hand what was said to the node on this machine, which spreads it.

    \b
    Example:  fruit freshness publish stable.fresh
    """
    record = _read(file)
    with closing(NodeClient(socket)) as client:
        _publish(client, record, _newest_root(client))
    if not quiet:
        typer.echo(line(fresh_words(read_fresh(record))))


def _publish(client: NodeClient, record: Record, root: TrustRoot) -> None:
    missing = missing_signatures(record, root)
    if missing:
        raise RefusedError(
            f"it needs {more_words(missing)} by freshness keys: write it to a file with -o, and let others sign that "
            "(fruit freshness sign)"
        )
    outcome = client.offer(record.encode()).get("outcome")
    if outcome not in ("accepted", "known"):
        why = {
            "older": "something newer was said already",
            "disputed": "something else was said for the same second; say it again",
        }
        raise RefusedError(f"the node did not take it: {why.get(str(outcome), line(outcome))}")


def _held(client: NodeClient, channel: str) -> Held:
    return Held(held_records(client, "manifest", channel), held_records(client, FRESH_KIND, channel))


def _newest_root(client: NodeClient) -> TrustRoot:
    """The end of the chain of trust roots that the node holds, and has judged."""
    held = held_records(client, ROOT_KIND)
    if not held:
        raise RefusedError("the node told of no trust root")
    newest = max(record.sequence for record in held)
    ends = [record for record in held if record.sequence == newest]
    if len(ends) > 1:
        raise RefusedError(f"the node holds two trust roots {newest} that contradict each other")
    with as_refusals():
        return read_root(ends[0])


def _read(path: Path) -> Record:
    with as_refusals(str(path)):
        return Record.decode(read_bounded(path, RECORD_BYTES_MAX))


def _write(path: Path, record: Record) -> None:
    with as_refusals():
        write_durably(path, record.encode())


def _read_trust(path: Path) -> TrustRoot:
    with as_refusals(f"trust root {path}"):
        return load_root(read_file(path))


def _next_words(record: Record, root: TrustRoot, file: Path) -> str:
    missing = missing_signatures(record, root)
    if not missing:
        return f"signed by enough: fruit freshness publish {file}"
    return f"{needed_words(missing)}: fruit freshness sign {file} --key NAME.key --trust root.fruit"
