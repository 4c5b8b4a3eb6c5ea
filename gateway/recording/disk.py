"""Which refusals of a disk pass: it is full, read-only, gone or out of reach now, and may be well again later."""

from __future__ import annotations

import errno

# By name, since not every system has all of them.
_PASSING = (
    "ENOSPC EDQUOT EROFS EIO EACCES EPERM EBUSY ETXTBSY EAGAIN EINTR ENOMEM EMFILE ENFILE ENOLCK EDEADLK "
    "ESTALE ENODEV ENXIO ENOTCONN ESHUTDOWN ETIMEDOUT EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH EREMOTEIO ENOTDIR"
)
PASSING = frozenset(getattr(errno, name) for name in _PASSING.split() if hasattr(errno, name))


def passes(error: OSError) -> bool:
    """Whether the same may go well later, without anybody changing what is asked."""
    return error.errno in PASSING
