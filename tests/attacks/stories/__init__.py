"""All stories: importing this fills the table, a module for each subject."""

from tests.attacks.stories import (
    clocks,
    contradictions,
    crowds,
    forged_freshness,
    forged_manifests,
    forged_members,
    forged_roots,
    liars,
    members,
    on_the_path,
    thefts,
    torrents,
)

__all__ = [
    "clocks",
    "contradictions",
    "crowds",
    "forged_freshness",
    "forged_manifests",
    "forged_members",
    "forged_roots",
    "liars",
    "members",
    "on_the_path",
    "thefts",
    "torrents",
]
