"""PiStack boards: two bays each, up to 16 on a bus. Only `serial_wire` and `i2c_wire` touch the machine.

commands.py     every command that public code knows, as a table
frames.py       requests and replies as bytes
error_codes.py  what a board's error codes mean
conversions.py  counts to V, A and W, by hardware version
line.py         one request and its reply on a half-duplex line: gaps, times, tries
agreement.py    when a value that came over a line with an 8-bit checksum is believed
scripts.py      what is asked one after the other: commands, identification, search
sweep.py        all readings of all boards
stack.py        runs scripts on a wire
"""
