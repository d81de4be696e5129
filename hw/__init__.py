"""Power boards, power monitors and lines of a Raspberry Pi: a library in its own right, with emulators of all of them.

    readings.py     the one `Reading` type: quantity, value, unit, quality, when, where from
    pistack/        PiStack boards: frames, line, sweep (pure) and the serial and I2C wires under them
    monitors/       INA219, INA226, INA3221
    gpio/           heartbeat and shutdown lines of a Pi on a board
    kernel_files.py what the kernel of a Pi with no board tells
    emulator/       up to 16 boards behind a pseudo-terminal, an I2C bus and GPIO lines

Nothing here imports another package of the project. pyserial, smbus2 and RPi.GPIO (the extra `pi`) are imported when a port is
opened, and not before. docs/hardware.md is the manual.
"""
