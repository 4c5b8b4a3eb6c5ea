"""The errors of a disk that may pass: it is full, read-only, gone or unreachable, and may work again later."""

from __future__ import annotations

import errno

# Names instead of numbers, because no system has all of them.
_PASSING = (
    "ENOSPC EDQUOT EROFS EIO EACCES EPERM EBUSY ETXTBSY EAGAIN EINTR ENOMEM EMFILE ENFILE ENOLCK EDEADLK "
    "ESTALE ENODEV ENXIO ENOTCONN ESHUTDOWN ETIMEDOUT EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH EREMOTEIO ENOTDIR"
)
PASSING = frozenset(getattr(errno, name) for name in _PASSING.split() if hasattr(errno, name))


def passes(error: OSError) -> bool:
    """Whether the same operation may succeed later."""
    return error.errno in PASSING
