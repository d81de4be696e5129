"""Reading again, while running, what an operator may have changed on the card: the swarm keys and the join token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from fruitd.config.swarm_keys import read_swarm_keys
from fruitd.daemon.own_certificate import load_certificate
from fruitd.daemon.shown.fellows import own_membership
from fruitd.errors import RefusedError, UsageError
from fruitd.logs import get_logger
from swarm.errors import KeyFileError
from swarm.seal import Keyring, key_id

if TYPE_CHECKING:
    from fruitd.daemon.daemon import Daemon

log = get_logger(room="daemon")


async def reload(daemon: Daemon) -> dict[str, Any]:
    """Take what is on the card now; what the node goes on with. Raises `RefusedError`, with nothing changed."""
    config = daemon.config
    try:
        keyring = Keyring(await trio.to_thread.run_sync(read_swarm_keys, config.swarm.key_file))
    except (UsageError, KeyFileError) as error:
        raise RefusedError(f"{error}; the node goes on with the keys it has") from error
    certificate, trouble = await trio.to_thread.run_sync(
        load_certificate,
        config.node.state_dir,
        config.node.token,
        daemon.identity,
        daemon.trusted.root,
        daemon.time.wall_s(),
    )
    daemon.core.swarm.set_keyring(keyring)
    daemon.core.set_certificate(certificate, trouble, daemon.time.now_s())
    daemon.submit([])  # it may want to wake earlier now
    ids = swarm_key_ids(keyring)
    log.info("swarm keys and join token were read again", swarm_keys=ids)
    return {"swarm_keys": ids, "membership": own_membership(daemon)}


def swarm_key_ids(keyring: Keyring) -> list[str]:
    """What the keys are called, in hex: the first seals, all open."""
    return [key_id(key).hex() for key in keyring.keys]
