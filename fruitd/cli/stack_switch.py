"""`fruit stack on|off|cycle`: a command to the power of a bay, signed by as many operators as it takes."""

from __future__ import annotations

import re
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.amounts import line, moment
from fruitd.cli.client import DEFAULT_SOCKET, NodeClient
from fruitd.cli.key_options import PassphraseFileOption, open_signers
from fruitd.cli.targets import PREFIX_CHARS_MIN
from fruitd.errors import RefusedError, RetryError
from fruitd.maintainer.cosigning import merge_as, missing_as, more_words, needed_words, sign_as
from fruitd.maintainer.mistakes import as_refusals
from swarm.durable import write_durably
from swarm.fields import cut
from swarm.news.record import RECORD_BYTES_MAX, Record
from swarm.power import WHY_CHARS_MAX, Place
from swarm.root_file import ROOT_FILE_BYTES_MAX, load_chain
from swarm.switching import SWITCH_KIND, VALID_S_MAX, Action, SwitchCommand
from swarm.trust.key_files import read_bounded, write_new
from swarm.trust.root import Role, TrustRoot

Json = dict[str, Any]
VALID_S = 600
"""A command that reaches nobody in this time is acted on by nobody. One that others have to sign is valid for `VALID_S_MAX`."""
WAIT_S = 60.0
LOOK_S = 0.5
_WORDS = {
    Action.ON: """Give power to a bay.

    \b
    Example:  fruit stack on pi-17 --key olga.key --trust root.fruit
    """,
    Action.OFF: """Shut a node down, and take its power; it stays off.

    \b
    Example:  fruit stack off pi-17 --key olga.key --trust root.fruit --why "card is replaced"

    \b
    Where two operators have to sign:
              fruit stack off pi-17 --key olga.key --trust root.fruit -o pi-17.switch
              fruit stack sign pi-17.switch --key otto.key --trust root.fruit
              fruit stack publish pi-17.switch --trust root.fruit
    """,
    Action.CYCLE: """Shut a node down, take its power, and give it back.

    \b
    Example:  fruit stack cycle 3:1 --key olga.key --trust root.fruit --why "does not answer"
    """,
}
FileArgument = Annotated[
    Path, typer.Argument(help="What `fruit stack on|off|cycle -o FILE` wrote.", metavar="FILE")
]
NodeArgument = Annotated[
    str, typer.Argument(help="A node's name or id, or BOARD:BAY such as 3:1.", metavar="NODE")
]
SocketOption = Annotated[
    Path, typer.Option("--socket", envvar="FRUIT_SOCKET", help="The daemon's Unix socket.", metavar="PATH")
]
KeysOption = Annotated[
    list[Path],
    typer.Option("--key", help="An operator key; repeat it where several must sign.", metavar="NAME.key"),
]
TrustOption = Annotated[
    Path, typer.Option("--trust", help="The swarm's newest trust root, root.fruit.", metavar="FILE")
]
WhyOption = Annotated[
    str, typer.Option("--why", help="The reason; it stands in the history.", metavar="TEXT")
]
StackOption = Annotated[
    str, typer.Option("--stack", help="Which stack, where BOARD:BAY is in more than one.", metavar="NAME")
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Write it to a file, for others to sign within a day.", metavar="FILE"
    ),
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is done.")]


def add_switching(app: typer.Typer) -> None:
    """Add these commands to `fruit stack`."""
    for action, words in _WORDS.items():
        app.command(str(action), help=words)(_switching(action))
    for command in (sign, merge, publish):
        app.command(command.__name__)(command)


def _switching(action: Action) -> Any:
    def switch(
        node: NodeArgument,
        keys: KeysOption,
        trust: TrustOption,
        why: WhyOption = "",
        stack: StackOption = "",
        output: OutputOption = None,
        no_wait: NoWaitOption = False,
        socket: SocketOption = DEFAULT_SOCKET,
        passphrase_file: PassphraseFileOption = None,
    ) -> None:
        root = _root(trust)
        with closing(NodeClient(socket)) as client:
            name, bay = bay_of(node, stack, client.get("/v1/stack"))
            now_s = time.time()
            command = SwitchCommand(
                swarm=root.swarm,
                stack=name,
                place=Place(*map(int, bay["bay"].split(":"))),
                node_id=bytes.fromhex(bay["node"] or ""),
                action=action,
                why=cut(why, WHY_CHARS_MAX),
                expires_at_s=int(now_s) + (VALID_S if output is None else VALID_S_MAX),
            )
            said = command.record(now_s, int(bay["command"]))
            record = sign_as(Role.OPERATOR, said, open_signers(keys, passphrase_file), root)
            if output is None:
                _publish(client, record, root, line(bay["name"]) or "nobody known", no_wait)
                return
        with as_refusals():
            write_new(output, record.encode(), 0o644)
        _say(record, root, output)

    return switch


def sign(
    file: FileArgument, keys: KeysOption, trust: TrustOption, passphrase_file: PassphraseFileOption = None
) -> None:
    """Add your signature to a command that another operator has written to a file.

    \b
    Example:  fruit stack sign pi-17.switch --key otto.key --trust root.fruit
    """
    record, root = _read(file), _root(trust)
    typer.echo(_about(_command(record)))
    record = sign_as(Role.OPERATOR, record, open_signers(keys, passphrase_file), root)
    _replace(file, record, root)


def merge(
    file: FileArgument,
    others: Annotated[list[Path], typer.Argument(help="Copies that others have signed.", metavar="OTHER...")],
    trust: TrustOption,
) -> None:
    """Bring into FILE the signatures that others gave to copies of it.

    \b
    Example:  fruit stack merge pi-17.switch ottos.switch --trust root.fruit
    """
    root = _root(trust)
    _replace(file, merge_as(Role.OPERATOR, [_read(path) for path in (file, *others)], root), root)


def publish(
    file: FileArgument,
    trust: TrustOption,
    no_wait: NoWaitOption = False,
    socket: SocketOption = DEFAULT_SOCKET,
) -> None:
    """Hand a command that enough have signed to the node on this machine, which spreads it.

    \b
    Example:  fruit stack publish pi-17.switch --trust root.fruit
    """
    record, root = _read(file), _root(trust)
    command = _command(record)
    if command.expires_at_s <= time.time():
        raise RefusedError(f"it could be acted on until {moment(command.expires_at_s)}: say it again")
    with closing(NodeClient(socket)) as client:
        who = next(
            (bay["name"] for name, bay in _bays(client.get("/v1/stack")) if _means(command, name, bay)), ""
        )
        _publish(client, record, root, line(who) or "nobody known", no_wait)


def _publish(client: NodeClient, record: Record, root: TrustRoot, who: str, no_wait: bool) -> None:
    missing = missing_as(Role.OPERATOR, record, root)
    if missing:
        raise RefusedError(
            f"it needs {more_words(missing)} by operators: give a --key of each, or write it to a file with -o and let others "
            "sign that (fruit stack sign)"
        )
    outcome = client.offer(record.encode())["outcome"]
    if outcome not in ("accepted", "known"):
        raise RefusedError(
            f"the node has a newer command for this bay ({line(str(outcome))}); nothing was changed"
        )
    command = _command(record)
    typer.echo(f"{command.action} of bay {command.place} ({who}) is on its way to the node with the bus")
    if not no_wait:
        _wait(client, command, record.sequence)


def _wait(client: NodeClient, command: SwitchCommand, sequence: int) -> None:
    """Until the node that has the bus says that it has acted on it, or refused it."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        found = [bay for name, bay in _bays(client.get("/v1/stack")) if _means(command, name, bay)]
        if found and int(found[0]["command"]) >= sequence:
            words = line(found[0]["why"])
            if words.startswith("not done"):
                raise RefusedError(f"bay {command.place}: {words}")
            done = line(found[0]["doing"]) or "done"
            typer.echo(f"bay {command.place}: {done}" + (f" ({words})" if words else ""))
            return
        time.sleep(LOOK_S)  # paces a poll: it is news from another node that is waited for
    raise RetryError(f"the node with the bus has not answered within {WAIT_S:g} s; see: fruit stack show")


def _means(command: SwitchCommand, stack: str, bay: Json) -> bool:
    return stack == command.stack and bay["bay"] == str(command.place)


def _bays(answer: Json) -> list[tuple[str, Json]]:
    return [
        (row["name"], bay) for row in answer["stacks"] for board in row["boards"] for bay in board["bays"]
    ]


def bay_of(words: str, stack: str, answer: Json) -> tuple[str, Json]:
    """The one bay that is meant. Raises `RefusedError` for none, and for more than one."""
    bays = [(name, bay) for name, bay in _bays(answer) if not stack or name == stack]
    if re.fullmatch(r"\d{1,3}:[01]", words):
        found = [(name, bay) for name, bay in bays if bay["bay"] == words]
    else:
        found = [(name, bay) for name, bay in bays if words in (bay["name"], bay["node"])]
        if not found and len(words) >= PREFIX_CHARS_MIN:
            found = [(name, bay) for name, bay in bays if str(bay["node"] or "").startswith(words)]
    if len(found) != 1:
        raise RefusedError(
            f"{line(words)} is in {len(found)} bays: say BOARD:BAY, and --stack" if found
            else f"no stack that this node is told of has {line(words)} in a bay; see: fruit stack show, fruit stack map"
        )  # fmt: skip
    return found[0]


# ---------------------------------------------------------------------- the file that several sign


def _about(command: SwitchCommand) -> str:
    """What it says, before anybody signs it."""
    who = command.node_id.hex()[:8] if command.node_id else "whoever sits there"
    why = line(command.why) or "no reason given"
    return (
        f"{command.action} of bay {command.place} of stack {line(command.stack)} ({who}), until "
        f"{moment(command.expires_at_s)}: {why}"
    )


def _say(record: Record, root: TrustRoot, file: Path) -> None:
    missing = missing_as(Role.OPERATOR, record, root)
    typer.echo(
        f"{needed_words(missing)}: fruit stack sign {file} --key NAME.key --trust root.fruit" if missing
        else f"signed by enough: fruit stack publish {file} --trust root.fruit"
    )  # fmt: skip


def _read(path: Path) -> Record:
    with as_refusals(str(path)):
        return Record.decode(read_bounded(path, RECORD_BYTES_MAX))


def _command(record: Record) -> SwitchCommand:
    """What it says, whoever signed it; raises `RefusedError`."""
    if record.kind != SWITCH_KIND:
        raise RefusedError("this file is no command to the power of a bay")
    with as_refusals():
        command = SwitchCommand.decode(record.body)
    if command.key != record.key:
        raise RefusedError("this file names one bay and is about another")
    return command


def _replace(file: Path, record: Record, root: TrustRoot) -> None:
    with as_refusals():
        write_durably(file, record.encode())
    _say(record, root, file)


def _root(path: Path) -> TrustRoot:
    with as_refusals(f"trust root {path}"):
        return load_chain(read_bounded(path, ROOT_FILE_BYTES_MAX)).newest
