"""The encoder: fused tables, the look-up as a step of its own, missing column groups."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.layers import Encoder, columns_at, embedding, fused_ids, gather

IDS = jnp.array([[0, 2], [1, 0], [0, 1]], jnp.int32)
NUMERIC = jnp.array([[0.5], [-1.0], [2.0]])
TABLES = jnp.arange(10.0).reshape(5, 2)


def test_each_column_has_its_own_rows_of_the_fused_table():
    np.testing.assert_array_equal(fused_ids(IDS, (2, 3)), [[0, 4], [1, 2], [0, 3]])
    assert fused_ids(IDS, (2, 3)).dtype == jnp.int32


def test_features_are_the_rows_then_the_numbers():
    x = Encoder((2, 3), 2).apply({"params": {"tables": TABLES}}, IDS, NUMERIC)
    np.testing.assert_array_equal(x, [[0, 1, 8, 9, 0.5], [2, 3, 4, 5, -1], [0, 1, 6, 7, 2]])


def test_given_rows_replace_the_tables():
    rows = gather(TABLES, fused_ids(IDS, (2, 3)))
    encoder = Encoder((2, 3), 2)
    expected = encoder.apply({"params": {"tables": TABLES}}, IDS, NUMERIC)
    np.testing.assert_array_equal(encoder.apply({}, IDS, NUMERIC, rows=rows), expected)
    assert "params" not in encoder.init(jax.random.key(0), IDS, NUMERIC, rows=rows)


def test_gradients_at_the_rows_add_up_to_those_of_the_table():
    encoder, ids = Encoder((2, 3), 2), fused_ids(IDS, (2, 3))

    def loss(variables, rows=None):
        return jnp.sum(encoder.apply(variables, IDS, NUMERIC, rows=rows) ** 3)

    dense = jax.grad(loss)({"params": {"tables": TABLES}})["params"]["tables"]
    at_rows = jax.grad(lambda rows: loss({}, rows))(gather(TABLES, ids))
    np.testing.assert_allclose(jnp.zeros_like(TABLES).at[ids].add(at_rows), dense)


@pytest.mark.parametrize("stack", [(), (2,), (2, 3)])
def test_a_look_up_and_its_derivatives_are_those_of_indexing(stack):
    rng = np.random.default_rng(0)
    tables, direction = (jnp.asarray(rng.normal(size=(*stack, 5, 2)), jnp.float32) for _ in range(2))
    ids = jnp.array([[4, 0, 4], [1, 4, 0]])
    cotangent = jnp.asarray(rng.normal(size=(*stack, 2, 3, 2)), jnp.float32)
    rows, tangent = jax.jvp(lambda tables: gather(tables, ids), (tables,), (direction,))
    np.testing.assert_array_equal(rows, np.asarray(tables)[..., ids, :])
    np.testing.assert_array_equal(tangent, np.asarray(direction)[..., ids, :])
    expected = np.zeros((*stack, 5, 2))
    for b, c in np.ndindex(*ids.shape):
        expected[..., ids[b, c], :] += cotangent[..., b, c, :]
    _, pull = jax.vjp(lambda tables: gather(tables, ids), tables)
    np.testing.assert_allclose(pull(cotangent)[0], expected, rtol=1e-6)


def test_a_gradient_of_an_id_outside_the_table_is_not_a_number_either():
    gradient = jax.grad(lambda tables: jnp.sum(gather(tables, jnp.array([[1, 5]])) ** 2))(TABLES)
    assert np.isnan(gradient[4]).all()  # the row that was read instead
    np.testing.assert_array_equal(gradient[1], 2 * TABLES[1])


def test_an_id_outside_the_table_is_not_silently_another_row():
    assert np.isnan(gather(TABLES, jnp.array([[5, -1]]))).all()


def test_private_tables_give_each_task_its_own_features():
    tables = jnp.stack([TABLES, -TABLES])
    x = Encoder((2, 3), 2, table_stack=(2,)).apply({"params": {"tables": tables}}, IDS, NUMERIC)
    for t in range(2):
        alone = Encoder((2, 3), 2).apply({"params": {"tables": tables[t]}}, IDS, NUMERIC)
        np.testing.assert_array_equal(x[t], alone)


def test_a_missing_column_group_leaves_the_other():
    none = jnp.zeros((3, 0))
    x, variables = Encoder((), 2).init_with_output(jax.random.key(0), none.astype(jnp.int32), NUMERIC)
    np.testing.assert_array_equal(x, NUMERIC)
    assert "params" not in variables
    x = Encoder((2, 3), 2).apply({"params": {"tables": TABLES}}, IDS, none)
    np.testing.assert_array_equal(x, [[0, 1, 8, 9], [2, 3, 4, 5], [0, 1, 6, 7]])


def test_rows_start_with_unit_expected_norm():
    variables = Encoder((3000,), 16).init(jax.random.key(0), IDS[:, :1], NUMERIC)
    norms = np.sum(np.square(variables["params"]["tables"]), axis=1)
    np.testing.assert_allclose(norms.mean(), 1.0, rtol=0.03)


@pytest.mark.parametrize("positions", [(1, 2, 3), (0, 1, 3), (3, 0, 1), (2,), (1, 1), ()])
def test_columns_are_taken_in_their_order_and_without_a_scatter(positions):
    rows = jnp.arange(40.0).reshape(2, 5, 4)
    np.testing.assert_array_equal(columns_at(rows, positions), np.asarray(rows)[:, list(positions)])
    slope = jax.jit(jax.grad(lambda rows: jnp.sum(jnp.square(columns_at(rows, positions)))))
    assert "scatter" not in slope.lower(rows).as_text()


@pytest.mark.parametrize("shape", [(70, 4), (2, 70, 4)])
def test_large_tables_are_drawn_in_blocks_like_small_ones(shape, monkeypatch):
    draw = functools.partial(embedding.initial_rows, 0.5, jax.random.key(0), dtype=jnp.float32)
    small = draw(shape=shape)
    np.testing.assert_array_equal(small, nn.initializers.normal(0.5)(jax.random.key(0), shape))
    monkeypatch.setattr(embedding, "LARGE", 100)  # blocks of 1 to 2 rows, the last one overlapping
    large = np.asarray(draw(shape=shape))
    assert large.shape == shape
    assert len(np.unique(large)) == large.size
    assert abs(large.std() - 0.5) < 0.5 / (2 * large.size) ** 0.5 * 4


def test_drawing_a_large_table_needs_little_more_memory_than_the_table():
    shape = (embedding.LARGE // 4, 16)
    drawn = jax.jit(lambda key: embedding.initial_rows(0.5, key, shape, jnp.float32))
    analysis = drawn.lower(jax.random.key(0)).compile().memory_analysis()
    assert analysis.temp_size_in_bytes < 0.5 * analysis.output_size_in_bytes
