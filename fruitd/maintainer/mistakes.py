"""Where errors of the packages below become errors of this one, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bep35.errors
import swarm.errors
from fruitd.errors import RefusedError, RetryError


@contextmanager
def as_refusals(what: str = "") -> Iterator[None]:
    """Errors of swarm, bep35 and the system, inside, come out as ours; `what` says what they are about."""
    about = f"{what}: " if what else ""
    try:
        yield
    except (swarm.errors.SwarmError, bep35.errors.Bep35Error) as error:
        raise RefusedError(f"{about}{error}") from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename and str(error.filename) not in about else ""
        raise RetryError(f"{about}{where}{error.strerror or error}") from error
