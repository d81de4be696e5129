"""`fruit key`: make keys, look at them, lock them; keys that are kept elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fruitd.amounts import line, size
from fruitd.cli.key_options import PassphraseFileOption, new_passphrase, passphrase_of
from fruitd.cli.maintainer_options import JsonOption, command_group, field_line
from fruitd.cli.swarm_key import swarm
from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.command_signer import CommandSigner
from fruitd.maintainer.mistakes import as_refusals
from swarm.errors import KeyFileError
from swarm.trust.any_key import AnyKey, public_half
from swarm.trust.command_key import CommandKey, check_command
from swarm.trust.key_files import (
    create_key_pair,
    lock,
    read_key,
    read_public_key,
    replace_key,
    write_new,
)
from swarm.trust.keys import KEY_BYTES, PublicKey, SecretKey
from swarm.trust.locked_key import LockedKey

app = command_group("Make keys for maintainers and for a swarm.")

SCHEMA = 1
_PROBE = b"fruit-key-probe-1\0"
"""What a key that is kept elsewhere is tried with; no record and no torrent begins like it."""

NoPassphraseOption = Annotated[
    bool, typer.Option("--no-passphrase", help="Leave the secret key open: for scripts and services.")
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="The key file to make, NAME.key.", metavar="NAME.key")
]


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is; also the name of its two files.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to put them.", metavar="DIR")] = Path(),
    passphrase_file: PassphraseFileOption = None,
    no_passphrase: NoPassphraseOption = False,
) -> None:
    """Make a key pair: NAME.key signs, NAME.pub is for everybody.

    Asks twice for a passphrase, which locks NAME.key. Nothing is ever overwritten. Keep NAME.key offline, with one copy
    elsewhere: who holds it and knows the passphrase can sign in your name, and nobody can make it again.

    \b
    Example:  fruit key new ann --dir /media/usb
    """
    with as_refusals():
        PublicKey(
            bytes(KEY_BYTES), name
        )  # A name that cannot be is refused before a passphrase is asked for.
        passphrase = None if no_passphrase else new_passphrase(name, passphrase_file)
        secret_path, public_path = create_key_pair(folder, name, passphrase)
        public = read_public_key(public_path)
    typer.echo(f"key {public.name} ({public.key_id})")
    locked = "NOT locked: whoever reads it can sign" if no_passphrase else "locked with your passphrase"
    typer.echo(f"  {secret_path}  secret, {locked}; keep it offline, give it to nobody")
    typer.echo(f"  {public_path}  public: give it to whoever founds the swarm")


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(help="A key file of any kind.", metavar="FILE")],
    as_json: JsonOption = False,
) -> None:
    """Whose key a file holds, and what guards it. Shows nothing secret and asks for no passphrase.

    \b
    Example:  fruit key show ann.key
    """
    with as_refusals():
        key = read_key(file)
    described = _describe(key)
    if as_json:
        typer.echo(json.dumps(described, indent=2))
        return
    typer.echo(f"key {described['name']} ({described['id']})")
    typer.echo(field_line("public", described["public"]))
    typer.echo(field_line("kind", _kind_words(key)))
    if isinstance(key, CommandKey):
        typer.echo(field_line("command", " ".join(key.command)))


@app.command("passphrase")
def passphrase(
    file: Annotated[Path, typer.Argument(help="A secret key file.", metavar="NAME.key")],
    passphrase_file: PassphraseFileOption = None,
    new_passphrase_file: Annotated[
        Path | None, typer.Option(help="Read the new passphrase from this file (0600).", metavar="FILE")
    ] = None,
    no_passphrase: NoPassphraseOption = False,
) -> None:
    """Change the passphrase of a key, give it its first one, or take it away. The key stays the same.

    Copies of the file elsewhere keep the passphrase they have.

    \b
    Example:  fruit key passphrase ann.key
    """
    if no_passphrase and new_passphrase_file is not None:
        raise UsageError("--no-passphrase and --new-passphrase-file contradict each other")
    with as_refusals():
        key = read_key(file)
        match key:
            case LockedKey():
                try:
                    secret = key.unlock(passphrase_of(file, key, passphrase_file))
                except KeyFileError as error:
                    raise RefusedError(f"{file} {error}") from error
            case SecretKey():
                secret = key
            case _:
                raise RefusedError(f"{file} holds no secret key: there is nothing to lock")
        if no_passphrase:
            replace_key(file, secret)
        else:
            replace_key(file, lock(secret, new_passphrase(secret.name, new_passphrase_file)))
    typer.echo(f"{file} is {'NOT locked any more' if no_passphrase else 'locked with the new passphrase'}")


@app.command("from-command")
def from_command(
    command: Annotated[
        list[str],
        typer.Argument(
            help="After --, what signs: bytes on its input, signature as output.", metavar="COMMAND..."
        ),
    ],
    public: Annotated[
        str, typer.Option("--public", help="The key's public half: 64 hex digits.", metavar="HEX")
    ],
    output: OutputOption,
) -> None:
    """Describe a key that is kept elsewhere, such as in a token, and the command that signs with it.

    The command is tried at once. NAME.key can then be given wherever a secret key is asked for; it holds no secret, but
    who can change it chooses what is run.

    \b
    Example:  fruit key from-command -o ann.key --public 3d40...660c --
                pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so
                --sign --mechanism EDDSA --id 01
    """
    try:
        raw = bytes.fromhex(public)
    except ValueError as error:
        raise UsageError(f"--public {public!r} is not in hex") from error
    _describe_elsewhere(raw, command, output)


@app.command("from-agent")
def from_agent(
    comment: Annotated[str, typer.Argument(help="Comment of the key, as ssh-add -l shows it.")],
    output: OutputOption,
) -> None:
    """Use an Ed25519 key that an ssh-agent holds.

    NAME.key can then be given wherever a secret key is asked for, while the agent runs. Take a key made for this alone
    (ssh-keygen -t ed25519 -C COMMENT), not the one you log in with.

    \b
    Example:  fruit key from-agent fruit-ann -o ann.key
    """
    from fruitd.maintainer.ssh_agent import agent_keys

    with as_refusals():
        held = agent_keys()
    fitting = [key for key in held if key.comment == comment]
    if len(fitting) != 1:
        others = ", ".join(line(key.comment) for key in held) or "none"
        how_many = f"{len(fitting)} Ed25519 keys" if fitting else "no Ed25519 key"
        raise RefusedError(f"the ssh-agent holds {how_many} with comment {comment!r}; it holds: {others}")
    raw = fitting[0].public
    _describe_elsewhere(raw, ["fruit", "key", "agent-sign", raw.hex()], output)


@app.command("agent-sign")
def agent_sign_command(
    public: Annotated[str, typer.Argument(help="Public half of the key, 64 hex digits.", metavar="HEX")],
) -> None:
    """Have the ssh-agent sign what comes on standard input. What `from-agent` writes into key files.

    \b
    Example:  fruit key agent-sign 3d40...660c < message > signature
    """
    from fruitd.maintainer.ssh_agent import MESSAGE_BYTES_MAX, agent_sign

    try:
        raw = bytes.fromhex(public)
    except ValueError as error:
        raise UsageError(f"{public!r} is not in hex") from error
    with as_refusals():
        signature = agent_sign(raw, sys.stdin.buffer.read(MESSAGE_BYTES_MAX + 1))
    sys.stdout.buffer.write(signature)


app.command("swarm")(swarm)


def _describe_elsewhere(public: bytes, command: list[str], output: Path) -> None:
    """Write NAME.key and NAME.pub of a key that is kept elsewhere, once it has shown that it signs."""
    if output.suffix != ".key":
        raise UsageError(f"-o {output}: the file's name has to end in .key")
    with as_refusals():
        key = CommandKey(PublicKey(public, output.stem), check_command(command))
        if output.exists():
            raise RefusedError(f"{output} is there already and is not overwritten; choose another name")
        CommandSigner(key).sign(_PROBE)
        public_path = output.with_suffix(".pub")
        write_new(public_path, key.public.encode(), 0o644)
        try:
            write_new(output, key.encode(), 0o600)
        except BaseException:  # Ctrl-C too: no half of a pair stays
            public_path.unlink()
            raise
    typer.echo(f"key {key.public.name} ({key.public.key_id}) signs; it stays where it is kept")
    typer.echo(f"  {output}  names the command; no secret, but let nobody else change it")
    typer.echo(f"  {public_path}  public: give it to whoever founds the swarm")


def _describe(key: AnyKey) -> dict[str, Any]:
    public = public_half(key)
    kind = {SecretKey: "secret", LockedKey: "locked", CommandKey: "command", PublicKey: "public"}[type(key)]
    return {
        "schema": SCHEMA,
        "kind": kind,
        "id": public.key_id,
        "name": public.name,
        "public": public.raw.hex(),
        "command": list(key.command) if isinstance(key, CommandKey) else [],
    }


def _kind_words(key: AnyKey) -> str:
    match key:
        case SecretKey():
            return "secret, NOT locked: whoever reads the file can sign (fruit key passphrase locks it)"
        case LockedKey():
            memory = size(key.cost.memory_bytes)
            return f"secret, locked with a passphrase (argon2id, {memory}, {key.cost.passes} passes)"
        case CommandKey():
            return "kept elsewhere; a command signs with it"
    return "public: signatures are checked against it"
