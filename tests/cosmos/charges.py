"""Request units, by Microsoft's published figures: rules of thumb in the right proportions, not a price list.

A read costs 1 a started KB. An insert of 1 KB costs 5.5 without an index, 0.1 more for each indexed value, and some
0.61 for each further KB; a replace costs twice the insert; a delete costs 6. A query costs 3 for each physical
partition that it visits and 1 a KB that it returns.
"""

from __future__ import annotations

from math import ceil

DELETE = 6.0
REFUSED = 1.24  # a write that met 404, 409 or 412
QUERY_RANGE = 3.0


def kilobytes(size_bytes: int) -> int:
    """Started kilobytes, at least 1."""
    return max(1, ceil(size_bytes / 1024))


def read(size_bytes: int) -> float:
    """A point read."""
    return float(kilobytes(size_bytes))


def insert(size_bytes: int, indexed_values: int) -> float:
    """An item that was not there."""
    return 5.5 + 0.1 * indexed_values + 0.61 * (kilobytes(size_bytes) - 1)


def replace(size_bytes: int, indexed_values: int) -> float:
    """An item that was there."""
    return 2 * insert(size_bytes, indexed_values)


def query(ranges: int, returned_bytes: int) -> float:
    """A page of a query or of the change feed."""
    return QUERY_RANGE * ranges + ceil(returned_bytes / 1024)
