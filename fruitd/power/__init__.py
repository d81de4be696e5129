"""Power: hearts, boards, and what follows from them. Pure; the daemon and the simulated world carry it.

settings.py    what a node's owner configured
seen.py        what a sweep of the bus found, as far as it may be acted on
effects.py     what is asked of the host
own.py         every node's part: its heart, its supply, its wish to update, what holds it back
owner.py       the part of the node that has the bus: joins the five below
placing.py     the owner's search for who sits where
fellow.py      what the owner knows of another node
heart.py       when a node's heart stops although its daemon runs
seating.py     which node sits in which bay
learning.py    finding that out by a heart that pauses
turns.py       two Pis of one board never update at the same time
recovery.py    a bay that has fallen silent is power-cycled, by rules
energy.py      joules
averages.py    what was measured, in rows of a quarter of an hour
document.py    what the owner must remember across a power cut
part.py        own and owner, as the node's core sees them
"""
