"""Attention over histories: DIN's activation unit, masks, empty histories, what gets a gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.layers import DIN, ActivationUnit, AdditiveScores, Encoder, live_softmax

B, L, E = 4, 3, 2
LIVE = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(B, E)).astype(np.float32)
KEYS = RNG.normal(size=(B, L, E)).astype(np.float32)


def drawn(module, *args, seed=1):
    """Parameters away from their start, biases included."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
    return jax.tree.map(lambda p: jnp.float32(rng.normal(size=p.shape)), shapes)


def unit(softmax=False):
    return ActivationUnit(features=(5,), softmax=softmax)


PARAMS = drawn(unit(), QUERY, KEYS, LIVE)


@functools.cache
def pool(softmax=False):
    return jax.jit(unit(softmax).apply)


def reference(query, keys, live, softmax):
    """The paper's pooling in float64, one row and one behaviour at a time."""
    p = jax.tree.map(np.float64, PARAMS["params"])
    score = p["unit"]["score"]
    pooled = np.zeros((len(query), E))
    for b, q in enumerate(np.float64(query)):
        scores = {}
        for place, k in enumerate(np.float64(keys[b])):
            if live[b, place]:
                x = np.concatenate([q, k, q - k, q * k])
                hidden = np.maximum(x @ p["kernel"] + p["bias"][0], 0)
                scores[place] = (hidden @ score["kernel"] + score["bias"])[0]
        total = sum(np.exp(s) for s in scores.values()) if softmax else 1
        for place, s in scores.items():
            pooled[b] += (np.exp(s) / total if softmax else s) * keys[b, place]
    return pooled


@pytest.mark.parametrize("softmax", [False, True])
def test_the_pooled_history_is_the_weighted_sum_of_the_paper(softmax):
    found = pool(softmax)(PARAMS, QUERY, KEYS, LIVE)
    np.testing.assert_allclose(found, reference(QUERY, KEYS, LIVE, softmax), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("softmax", [False, True])
def test_padding_reaches_neither_value_nor_gradient(softmax):
    def total(query, keys):
        return jnp.sum(jnp.sin(unit(softmax).apply(PARAMS, query, keys, LIVE)))

    value_and_grad = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    value, grads = value_and_grad(QUERY, KEYS)
    other = np.where(LIVE[..., None], KEYS, 100.0).astype(np.float32)
    value_other, grads_other = value_and_grad(QUERY, other)
    assert value == value_other
    jax.tree.map(np.testing.assert_array_equal, grads, grads_other)
    np.testing.assert_array_equal(grads[1][~LIVE], 0)
    np.testing.assert_array_equal(grads[0][3], 0)
    assert (np.abs(grads[1][LIVE]) > 0).all()


@pytest.mark.parametrize("softmax", [False, True])
def test_an_empty_history_pools_to_0(softmax):
    np.testing.assert_array_equal(pool(softmax)(PARAMS, QUERY, KEYS, LIVE)[3], 0)


def test_without_softmax_the_sum_tells_how_often_something_happened():
    keys = np.repeat(KEYS[:, :1], L, axis=1)
    once, thrice = (pool()(PARAMS, QUERY, keys, np.arange(L) < [[n]] * B) for n in (1, 3))
    np.testing.assert_allclose(thrice, 3 * once, rtol=1e-5)
    once, thrice = (pool(True)(PARAMS, QUERY, keys, np.arange(L) < [[n]] * B) for n in (1, 3))
    np.testing.assert_allclose(thrice, once, rtol=1e-5)


def test_weights_among_live_positions_sum_to_1_at_any_scores():
    scores = jnp.array([[1e4, 1e4, 0.0], [-1e4, 3.0, np.nan], [np.nan, -1e4, np.nan], [np.nan] * 3])
    found = live_softmax(scores, LIVE)
    np.testing.assert_array_equal(found, [[0.5, 0.5, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_units_of_a_stack_are_independent():
    keys, query = np.stack([KEYS, -KEYS]), np.stack([QUERY, QUERY])
    module = ActivationUnit(stack=(2,), features=(5,))
    params = drawn(module, query, keys, LIVE)
    found = jax.jit(module.apply)(params, query, keys, LIVE)
    for t in range(2):
        own = jax.tree.map(lambda p, t=t: p[t], params)
        np.testing.assert_allclose(found[t], pool()(own, query[t], keys[t], LIVE), rtol=1e-5)


def test_additive_scores_know_the_place():
    module = AdditiveScores(stack=(), length=L, features=4)
    params = drawn(module, KEYS)
    p = jax.tree.map(np.float64, params["params"])
    for first in (0, 1):  # A shorter sequence starts at place 0 as well.
        moved = KEYS[:, first:] @ p["dense"]["kernel"] + p["dense"]["bias"] + p["places"][:, : L - first]
        expected = (np.tanh(moved) @ p["score"]["kernel"])[..., 0]
        np.testing.assert_allclose(module.apply(params, KEYS[:, first:]), expected, rtol=1e-4, atol=1e-6)


# Columns: item, a colour, three past items that read the item's table, two past kinds with one of their own.
TABLES = Encoder((6, 3, 6, 6, 6, 4, 4), 2, owners=(0, 1, 0, 0, 0, 5, 5), sequences=(-1, -1, 0, 0, 0, 1, 1))
IDS = np.array([[1, 0, 2, 3, 0, 1, 2], [4, 2, 5, 0, 0, 3, 0], [1, 1, 0, 0, 0, 0, 0]], np.int32)
NUMERIC = np.array([[0.5], [1.0], [2.0]], np.float32)


def test_din_pools_its_sequences_for_the_candidate_and_averages_the_others():
    module = DIN(TABLES, targets=(0, -1), features=(5,))
    params = drawn(module, IDS, NUMERIC)
    params["params"]["unit0"] = PARAMS["params"]
    tables = np.asarray(params["params"]["tables"]["tables"])
    x = jax.jit(module.apply)(params, IDS, NUMERIC)
    assert x.shape == (3, 2 + 2 + 2 + 2 + 1)
    np.testing.assert_array_equal(x[:, :2], tables[IDS[:, 0]])
    np.testing.assert_array_equal(x[:, 2:4], tables[6 + IDS[:, 1]])
    past = IDS[:, 2:5]
    expected = reference(tables[IDS[:, 0]], tables[past], past > 0, softmax=False)
    np.testing.assert_allclose(x[:, 4:6], expected, rtol=1e-4, atol=1e-5)
    kinds = tables[9 + IDS[:, 5:]]
    np.testing.assert_allclose(x[:, 6:8], [kinds[0].mean(0), kinds[1, 0], [0, 0]], rtol=1e-5)
    np.testing.assert_array_equal(x[:, 8:], NUMERIC)


def test_the_row_of_padding_gets_no_gradient():
    module = DIN(TABLES, targets=(0, -1), features=(5,))
    params = drawn(module, IDS, NUMERIC)
    slope = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(module.apply(p, IDS, NUMERIC)))))(params)
    moved = np.abs(slope["params"]["tables"]["tables"]).max(axis=1) > 0
    # Items 1 to 5 and kinds 1 to 3; colours have no padding.
    np.testing.assert_array_equal(moved, [0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1])
