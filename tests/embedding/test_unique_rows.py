"""The distinct rows of a batch, found without sorting."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtl.embedding import empty_scratch, unique_rows
from mtl.errors import InputError

V, CAPACITY = 9, 6
find = jax.jit(functools.partial(unique_rows, capacity=CAPACITY))


def test_by_hand():
    ids = np.array([[7, 2], [7, 0], [2, 2]], np.int32)
    _, rows = find(empty_scratch(V), ids)
    # The last of equal ids speaks for them: 7 at place 2, 0 at place 3, 2 at place 5.
    np.testing.assert_array_equal(rows.ids[:3], [7, 0, 2])
    np.testing.assert_array_equal(rows.positions, [[0, 2], [0, 1], [2, 2]])
    assert rows.distinct == 3
    assert (np.asarray(rows.ids[3:]) >= V).all()
    assert len(set(rows.ids.tolist())) == CAPACITY


@given(
    ids=hnp.arrays(np.int32, (4, 3), elements=st.integers(0, V - 1)),
    scratch=hnp.arrays(np.int32, (V,), elements=st.integers(-(2**31), 2**31 - 1)),
)
def test_agrees_with_numpy_whatever_the_scratch_holds(ids, scratch):
    _, rows = find(jnp.asarray(scratch), ids)
    expected = np.unique(ids)
    assert rows.distinct == len(expected)
    if len(expected) <= CAPACITY:
        assert sorted(np.asarray(rows.ids)[: len(expected)]) == expected.tolist()
        np.testing.assert_array_equal(np.asarray(rows.ids)[np.asarray(rows.positions)], ids)


def test_an_overflow_is_told_and_ids_without_a_place_point_outside():
    ids = np.arange(V, dtype=np.int32)
    _, rows = find(empty_scratch(V), ids)
    assert rows.distinct == V
    assert (np.sort(np.asarray(rows.positions))[CAPACITY:] >= CAPACITY).all()
    np.testing.assert_array_equal(np.sort(rows.ids), np.arange(CAPACITY))


def test_no_capacity_is_refused():
    with pytest.raises(InputError, match="capacity is 0, expected at least 1 row"):
        unique_rows(empty_scratch(V), np.zeros(3, np.int32), 0)
