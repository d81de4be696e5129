"""The two lines between a Pi and the board it sits on.

    heartbeat.py  when the heartbeat line is high: pure
    debounce.py   when a line has really changed: pure
    lines.py      both lines of a Pi, on a port
    port.py       the port, and RPi.GPIO (or its drop-in on a Pi 5) behind it
    socket_port.py  the same for a Pi in an emulated bay

Source of pins and times: fruit-testbed/PiStack-daemon, stackdaemon.py at c51e1e3.
"""

HEARTBEAT_LINE = 5
"""BCM number."""
SIGNAL_LINE = 6
"""BCM number; both ends only ever pull it low."""
