"""Certificates and RSA signatures, as BEP-35 describes them: the extra `x509`. Nothing outside this folder needs its package."""

from __future__ import annotations

from importlib.util import find_spec

from bep35.errors import ExtraMissingError

if find_spec("cryptography") is None:
    raise ExtraMissingError(
        "certificates and RSA need the package cryptography; run: pip install 'fruitd[x509]'"
    )
