"""Whether a release on trial is to be kept: checks, what they said before the update, what the network tells, the watchdog."""
