"""The updater's tunables, each with what it costs to turn it either way."""

from __future__ import annotations

from attrs import frozen


@frozen
class UpdateSettings:
    """Times in seconds. The defaults suit real hardware; demos and tests use much shorter ones."""

    max_attempts: int = 2
    """Trial boots one release may have that end badly or do not come up. More: a bad release costs more restarts. Fewer: a
    power cut while a good release boots gets it quarantined."""
    cut_offs_max: int = 5
    """Trial boots of one release that may be cut off while all was well. More: a release that crashes the machine after
    minutes is tried more often. Fewer: power cuts alone get a good one quarantined."""
    retry_min_s: float = 5.0
    """First pause after a failed step. Shorter: a full disk or an absent swarm is asked more often. Longer: a passing
    fault delays every update."""
    retry_max_s: float = 900.0
    """Longest pause. Longer: slower to notice that the cause is gone. Shorter: wear and traffic for nothing."""
    health_interval_s: float = 10.0
    """Time between health samples, as the daemon takes them. A gap counts as at most three of these, so that a clock that
    is set in the middle of a trial can neither pass nor fail it."""
    health_sustain_s: float = 300.0
    """Unbroken health before a commit. Longer: later commits. Shorter: a fault that shows after minutes is kept for good."""
    health_samples: int = 10
    """Good samples in a row before a commit, whatever the clock says. As above."""
    health_fail_after: int = 3
    """Bad samples in a row that end a trial. More: a broken release runs longer. Fewer: a hiccup rolls a good one back."""
    trial_deadline_s: float = 900.0
    """A trial not passed by then has failed. Longer: a node hangs between two releases longer. Shorter: slow boots fail."""
    outage_s_max: float = 3600.0
    """How long a trial may stand still because of what is not the release's fault, such as an uplink that is down. Then the node
    goes back, and tries again. Longer: a release that broke the network keeps the node away longer. Shorter: outages count
    against good ones."""
    starts_max: int = 10
    """Starts of the daemon on one way to a trial, and again within it. More: a daemon that crashes keeps a trial open, or a
    node busy, longer. Fewer: kills from outside count against a good release."""
    read_back_tries: int = 3
    """Times a slot that reads back wrong is repaired at once, before the node pauses. More: a dying card is worn further."""
    restart_patience_s: float = 60.0
    """Wait for an asked restart before asking again. Shorter: interrupts a slow shutdown. Longer: a lost request costs more."""
    leave_restarts_max: int = 3
    """Restarts spent on leaving a slot that must not be kept. More: restarts for nothing where the default slot is dead."""
