"""Effective partition keys agree with those that the SDK computes, and physical ranges cut the key space."""

from __future__ import annotations

import pytest
from azure.cosmos import PartitionKey
from hypothesis import given
from hypothesis import strategies as st

from cosmos.epk import MAXIMUM, KeyRange, Scalar, effective_key, physical_ranges, prefix_range

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text())
TWO_LEVELS = PartitionKey(["/tenant", "/session_id"], kind="MultiHash")
ONE_LEVEL = PartitionKey("/tenant")


@given(SCALARS, SCALARS)
def test_a_whole_key_lies_where_the_sdk_looks_for_it(tenant: Scalar, session_id: Scalar) -> None:
    sdk = TWO_LEVELS._get_epk_range_for_partition_key([tenant, session_id])
    assert effective_key((tenant, session_id)) == sdk.min


@given(st.text(), st.text())
def test_a_prefix_lies_where_the_sdk_looks_for_it(tenant: str, session_id: str) -> None:
    sdk = TWO_LEVELS._get_epk_range_for_prefix_partition_key([tenant])
    assert prefix_range((tenant,)) == KeyRange(sdk.min, sdk.max)
    assert prefix_range((tenant,)).holds(effective_key((tenant, session_id)))


@given(st.text())
def test_a_key_of_one_path_lies_where_the_sdk_looks_for_it(tenant: str) -> None:
    assert effective_key((tenant,)) == ONE_LEVEL._get_epk_range_for_partition_key(tenant).min


@given(st.integers(1, 40), st.text(), st.text())
def test_each_key_lies_in_one_physical_range(count: int, tenant: str, session_id: str) -> None:
    ranges = physical_ranges(count)
    assert (ranges[0].start, ranges[-1].end, len(ranges)) == ("", MAXIMUM, count)
    assert sum(bounds.holds(effective_key((tenant, session_id))) for bounds in ranges) == 1


def test_bounds_can_be_given() -> None:
    assert physical_ranges(["20"]) == (KeyRange("", "20"), KeyRange("20", "FF"))


def test_one_and_true_are_two_keys() -> None:
    assert effective_key((1,)) != effective_key((True,))


def test_a_key_that_is_no_scalar_is_refused() -> None:
    with pytest.raises(TypeError):
        effective_key(({"a": 1},))  # type: ignore[arg-type]
