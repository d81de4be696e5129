"""The maintainers' side: found a swarm, build a release, sign it, look at it. `fruit key|trust|release`
stand on this.

A release in the making is a folder (`bundle`): whoever has the folder and a release key can sign it;
nothing in it is secret. Errors are `fruitd.errors`; whatever fails leaves the folder as it was.
"""

from __future__ import annotations

from fruitd.maintainer.build import ReleasePlan, build_release
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.founding import found_swarm
from fruitd.maintainer.inspect import describe_release, publish_request, verify_release
from fruitd.maintainer.merging import merge_release
from fruitd.maintainer.review import Known
from fruitd.maintainer.root_description import describe_root
from fruitd.maintainer.signing import Signing, detached_signature, sign_release

__all__ = [
    "Bundle",
    "Known",
    "ReleasePlan",
    "Signing",
    "build_release",
    "describe_release",
    "describe_root",
    "detached_signature",
    "found_swarm",
    "merge_release",
    "publish_request",
    "sign_release",
    "verify_release",
]
