"""The swarm core on real sockets, with trio.

sockets = await open_sockets(settings)             # the port is known from here on
core = SwarmCore(Me(..., sockets.port, ...), ...)
shell = SwarmShell(core, handler, sockets)
await nursery.start(shell.run)
"""

from swarm.shell.settings import ShellSettings
from swarm.shell.shell import SwarmShell
from swarm.shell.sockets import Sockets, open_sockets
from swarm.shell.traffic import Traffic

__all__ = ["ShellSettings", "Sockets", "SwarmShell", "Traffic", "open_sockets"]
