"""`fruitd-keeper`: the keeper's command line."""

from __future__ import annotations

import argparse
import os
import pwd
import socket
import sys
from importlib import metadata
from pathlib import Path

from fruitd.config.tables import Config, KeeperConfig, load_config
from fruitd.errors import FruitError, UsageError
from fruitd.keeper.boot_backend import boot_backend
from fruitd.keeper.lending import check_place
from fruitd.keeper.limits import write_limits
from fruitd.keeper.server import IDLE_S, inherited, listen, serve, turn_away
from fruitd.keeper.service import Keeper
from fruitd.keeper.verdict import Belief
from fruitd.logs import get_logger, setup_logging
from fruitd.slots.locate import located
from swarm.errors import KeyFileError, RefusedError
from swarm.root_file import ROOT_FILE_BYTES_MAX, load_root
from swarm.trust.key_files import read_bounded
from swarm.trust.root import TrustRoot

EXIT_REFUSED = 1
EXIT_USAGE = 2
EPILOG = """example:
  fruitd-keeper --config /etc/fruitd/fruitd.toml
  fruitd-keeper --config /etc/fruitd/fruitd.toml --write-limits /etc/systemd/system && systemctl daemon-reload

It reads [slots], [boot], [keeper], [trust] and what the node is from the same file as fruitd, and takes requests from fruitd's
user over a Unix socket; where a service manager listens on that socket, it ends when it is not needed.
Exit codes: 0 not needed any more, 1 refused to run (one line says why), 2 wrong configuration.
"""


def main() -> int:
    """Entry point of `fruitd-keeper`."""
    parser = argparse.ArgumentParser(
        prog="fruitd-keeper",
        description="Keeps the slots and the boot environment of a node whose daemon may not write them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration, TOML")
    parser.add_argument(
        "--write-limits",
        type=Path,
        metavar="DIR",
        help="write for systemd which devices and files the daemon and the keeper may touch (/etc/systemd/system), and end",
    )
    parser.add_argument("--version", action="version", version=f"fruitd {metadata.version('fruitd')}")
    arguments = parser.parse_args()
    os.umask(0o077)
    listener = inherited()
    try:
        config = load_config(arguments.config)
        if arguments.write_limits is not None:
            for path in write_limits(config, arguments.write_limits):
                print(path)
            return 0
        setup_logging(config.log.level, config.log.format)
        _run(config, listener)
    except FruitError as error:
        print(f"fruitd-keeper: {error}", file=sys.stderr)
        if listener is not None:
            turn_away(listener, str(error))
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_REFUSED
    return 0


def _run(config: Config, listener: socket.socket | None) -> None:
    slots, kept = config.slots, config.keeper
    if kept is None or slots is None or config.boot is None:
        raise UsageError(
            "there is nothing to keep: the configuration has no [keeper], or no [slots] and [boot]"
        )
    user, group = _daemon_user(kept)
    belief = Belief(_root(config), config.node.resource, frozenset(config.node.compatible))
    paths = located(slots.a, slots.b)
    if group is not None and user != os.geteuid():  # one user for both: there is nobody to guard against
        for path in paths.values():
            check_place(path, user)
    keeper = Keeper(
        boot_backend(config.boot, paths, kept.state_dir),
        paths,
        belief,
        kept.state_dir / "book",
        group,
        config.boot.restart_command,
    )
    keeper.open()
    idle_s = IDLE_S if listener is not None else None
    if listener is None:
        listener = listen(kept.socket, group)
    get_logger(room="keeper").info("ready", socket=str(kept.socket), daemon_user=kept.user)
    with listener:
        serve(keeper, listener, user, idle_s=idle_s)


def _daemon_user(kept: KeeperConfig) -> tuple[int, int | None]:
    """User and group of the daemon. Only root can give anything to another user; anybody may keep what is their own."""
    try:
        account = pwd.getpwnam(kept.user)
    except KeyError as error:
        raise UsageError(
            f"[keeper] user {kept.user!r} does not exist; make it: useradd --system {kept.user}"
        ) from error
    return account.pw_uid, account.pw_gid if os.geteuid() == 0 else None


def _root(config: Config) -> TrustRoot:
    try:
        return load_root(read_bounded(config.trust.root, ROOT_FILE_BYTES_MAX))
    except (KeyFileError, RefusedError) as error:
        raise UsageError(f"[trust] root {config.trust.root}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
