"""Tables divided over four devices: the same rows as of whole tables, each device with its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mtl.embedding import (
    RowAxis,
    Rows,
    empty_scratch,
    gather_rows,
    gather_sharded_rows,
    row_spec,
    scatter_rows,
    scatter_sharded_rows,
    unique_rows,
    unique_sharded_rows,
)

V, U = 16, 6
AXES = {"table": RowAxis("t", 0), "private": RowAxis("t", 1), "sums": RowAxis("t", 0), "dense": RowAxis()}
# The first and the last row of a device, two of one device, and two places left over.
IDS = np.array([3, 15, 4, 5, V, V + 1], np.int32)


@pytest.fixture(scope="module")
def mesh():
    return Mesh(np.array(jax.devices()[:4]), ("rows",))


@pytest.fixture(scope="module")
def state():
    rng = np.random.default_rng(0)
    shapes = {"table": (V, 3), "private": (2, V, 3), "sums": (V,), "dense": (5,)}
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


@pytest.fixture
def divided(mesh, state):
    return {name: jax.device_put(x, sharding(mesh, AXES[name])) for name, x in state.items()}


def sharding(mesh, where):
    return NamedSharding(mesh, row_spec(where, "rows"))


def on(mesh, function, *arguments):
    with jax.set_mesh(mesh):
        return jax.jit(function)(*arguments)


def rows():
    return {"t": Rows(jnp.asarray(IDS), jnp.arange(U), jnp.int32(4))}


def equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_rows_are_those_of_the_whole_table(mesh, state, divided):
    found = on(mesh, lambda s: gather_sharded_rows(s, AXES, rows(), "rows"), divided)
    equal(found, gather_rows(state, AXES, rows()))
    np.testing.assert_array_equal(found["private"][:, 1], state["private"][:, 15])
    np.testing.assert_array_equal(found["table"][4:], 0.0)


def test_rows_are_put_back_where_they_were_and_the_others_stay(mesh, state, divided):
    small = jax.tree.map(lambda x: x + 1.0, gather_rows(state, AXES, rows()))
    found = on(mesh, lambda s, n: scatter_sharded_rows(s, n, AXES, rows(), "rows"), divided, small)
    equal(found, scatter_rows(state, small, AXES, rows()))
    expected = np.asarray(state["table"]).copy()
    expected[IDS[:4]] += 1.0
    np.testing.assert_array_equal(found["table"], expected)
    for name, where in AXES.items():
        assert found[name].sharding.is_equivalent_to(sharding(mesh, where), found[name].ndim)


@pytest.mark.parametrize("capacity", [3, 8])  # too small, and with places left over
def test_distinct_ids_are_those_found_by_one_device(mesh, capacity):
    ids = jnp.array([[15, 0, 4, 0], [4, 4, 15, 7]], jnp.int32)
    scratch = jax.device_put(empty_scratch(V), sharding(mesh, RowAxis("t", 0)))
    find = functools.partial(unique_sharded_rows, capacity=capacity, over="rows")
    words, found = on(mesh, lambda s, i: find(s, i), scratch, ids)
    _, expected = unique_rows(empty_scratch(V), ids, capacity)
    equal(found, expected)
    assert int(found.distinct) == 4
    # Once more in the memory that the first call has written to.
    _, again = on(mesh, lambda s, i: find(s, i), words, ids[:, ::-1])
    equal(again, unique_rows(empty_scratch(V), ids[:, ::-1], capacity)[1])


def test_a_row_spec_divides_the_axis_of_rows_alone():
    assert row_spec(AXES["private"], "rows") == PartitionSpec(None, "rows")
    assert row_spec(AXES["dense"], "rows") == PartitionSpec()
