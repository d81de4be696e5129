"""The maintainers' side: found a swarm, build a release, sign it, look at it. `fruit key|trust|release`
stand on this.

A release in the making is a folder (`bundle`): whoever has the folder and a release key can sign it;
nothing in it is secret. Errors are `fruitd.errors`; whatever fails leaves the folder as it was.
"""

from __future__ import annotations

from fruitd.maintainer.build import ReleasePlan, build_release
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.founding import describe_root, found_swarm
from fruitd.maintainer.inspect import describe_release, publish_request, verify_release
from fruitd.maintainer.signing import Signing, sign_release

__all__ = [
    "Bundle",
    "ReleasePlan",
    "Signing",
    "build_release",
    "describe_release",
    "describe_root",
    "found_swarm",
    "publish_request",
    "sign_release",
    "verify_release",
]
