"""Hardware that behaves as it is documented to, for tests, demonstrations and simulations; docs/hardware.md says what is guessed.

    pi.py        a Raspberry Pi as a board sees it: draws current, beats, shuts down when signalled, may hang
    board.py     a board with two bays: timers, power, error log, every command
    stack.py     up to 16 boards on one supply
    faults.py    noise, wrong checksums, half frames, silence, late replies
    bus.py       the serial bus, each byte at its time
    terminal.py  the bus behind a real pseudo-terminal
    i2c.py       boards and power monitors behind the I2C port
    gpio.py      the lines of a Pi in a bay behind the GPIO port
    lines_socket.py  the same for a Pi that another process plays

All but terminal.py and lines_socket.py is pure: time is told, chance comes from a seeded source.
"""
