"""`fruitd`: the daemon's command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from importlib import metadata
from pathlib import Path

import trio

from fruitd.config.tables import Config, load_config
from fruitd.daemon.assembly import assemble
from fruitd.daemon.daemon import Daemon
from fruitd.daemon.sd_notify import Notifier, take_notifier
from fruitd.errors import FruitError, UsageError
from fruitd.heap import forget_beginnings, keep_heap_small
from fruitd.logs import get_logger, setup_logging
from swarm.errors import SwarmError

EXIT_REFUSED = 1
EXIT_USAGE = 2
EPILOG = """example:
  fruitd --config /etc/fruitd/fruitd.toml

Every key of the configuration is described in docs/configuration.md; packaging/fruitd.example.toml is a complete example.
Exit codes: 0 ended in order, 1 refused to run (one line says why), 2 wrong configuration, 90 asks its boot chooser for a restart.
"""


def main() -> int:
    """Entry point of `fruitd`."""
    parser = argparse.ArgumentParser(
        prog="fruitd",
        description="Keeps this node up to date from its peers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration, TOML")
    parser.add_argument(
        "--check", action="store_true", help="read the configuration, say whether it is good, and end"
    )
    parser.add_argument("--version", action="version", version=f"fruitd {metadata.version('fruitd')}")
    arguments = parser.parse_args()
    # Whatever the daemon makes is the daemon's alone, unless it says otherwise.
    os.umask(0o077)
    keep_heap_small()
    try:
        config = load_config(arguments.config)
        setup_logging(config.log.level, config.log.format)
        if arguments.check:
            print(f"{arguments.config}: good")
            return 0
        return trio.run(_run, config, take_notifier())
    except UsageError as error:
        print(f"fruitd: {error}", file=sys.stderr)
        return EXIT_USAGE
    except (FruitError, SwarmError) as error:
        print(f"fruitd: {error}", file=sys.stderr)
        return EXIT_REFUSED


async def _run(config: Config, notifier: Notifier) -> int:
    assembly = await assemble(config)
    daemon = Daemon(assembly, notifier)
    forget_beginnings()
    code = 0
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_end_on_signal, nursery.cancel_scope)
            code = await daemon.run()
            nursery.cancel_scope.cancel()
    finally:
        daemon.close()
    return code


async def _end_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            get_logger(room="daemon").info("ending", signal=signal.Signals(number).name)
            scope.cancel()
            return


if __name__ == "__main__":
    sys.exit(main())
