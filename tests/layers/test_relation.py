"""Relation units along arbitrary task graphs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.errors import InputError
from mtl.layers import RelationUnits, relation_groups

RNG = np.random.default_rng(0)
DIAMOND = ((), (0,), (0,), (1, 2))


@st.composite
def acyclic_graphs(draw):
    """Any DAG of up to six tasks, in any order of declaration."""
    n = draw(st.integers(1, 6))
    rank = draw(st.permutations(range(n)))
    return tuple(tuple(p for p in range(n) if rank[p] < rank[t] and draw(st.booleans())) for t in range(n))


@given(acyclic_graphs())
def test_groups_cover_all_tasks_after_their_parents(parents):
    groups = relation_groups(parents)
    assert sorted(t for group in groups for t in group) == list(range(len(parents)))
    done: set[int] = set()
    for group in groups:
        assert len({len(parents[t]) for t in group}) == 1
        assert all(set(parents[t]) <= done for t in group)
        done.update(group)


def random_params(units, h):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(units.init, jax.random.key(0), jnp.float32(h))["params"]
    return jax.tree.map(lambda p: jnp.float32(rng.normal(size=p.shape)), shapes)


def numpy_relations(params, parents, order, h, num_layers):
    """r_t = MLP_t([h_t; r_j]) on explicit concatenations, one task after the other."""
    p = {name: np.float64(value) for name, value in params.items()}
    r: dict[int, np.ndarray] = {}
    for t in order:
        z = np.concatenate([h[t], *[r[j] for j in parents[t]]], axis=-1)
        used = [p["parent_kernel"][t, i] for i in range(len(parents[t]))]
        kernel = np.concatenate([p["own_kernel"][t], *used])
        z = np.maximum(z @ kernel + p["bias0"][t], 0)
        for i in range(1, num_layers):
            z = np.maximum(z @ p[f"kernel{i}"][t] + p[f"bias{i}"][t], 0)
        r[t] = z
    return r


@pytest.mark.parametrize("parents, order", [(DIAMOND, (0, 1, 2, 3)), (((2,), (0, 2), ()), (2, 0, 1))])
@pytest.mark.parametrize("features", [(4,), (5, 4)])
def test_relation_vectors_match_numpy(parents, order, features):
    h = RNG.normal(size=(len(parents), 6, 3))
    units = RelationUnits(parents, features)
    params = random_params(units, h)
    r = jax.jit(units.apply)({"params": params}, jnp.float32(h))
    expected = numpy_relations(params, parents, order, h, len(features))
    for t in order:
        np.testing.assert_allclose(r[t], expected[t], rtol=1e-4, atol=1e-5)


def test_a_unit_starts_at_the_fan_in_of_its_concatenated_input():
    parents = ((), (0,), (0, 1))
    width, size = 200, 100
    params = jax.jit(RelationUnits(parents, (size,)).init)(jax.random.key(0), jnp.ones((3, 2, width)))
    params = params["params"]
    for t, fan_in in enumerate((200, 300, 400)):
        sd = np.sqrt(2 / fan_in)
        np.testing.assert_allclose(np.std(params["own_kernel"][t]), sd, rtol=0.03)
        for slot in range(len(parents[t])):
            np.testing.assert_allclose(np.std(params["parent_kernel"][t, slot]), sd, rtol=0.03)


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_stop_gradient_keeps_a_childs_loss_from_its_parents(stop_gradient):
    h = jnp.asarray(np.abs(RNG.normal(size=(4, 5, 3))), jnp.float32)
    units = RelationUnits(DIAMOND, (4,), stop_gradient)
    params = jax.tree.map(jnp.abs, random_params(units, h))
    reached = jax.jit(jax.grad(lambda h: jnp.sum(units.apply({"params": params}, h)[3])))(h)
    norms = np.abs(np.asarray(reached)).sum(axis=(1, 2))
    assert norms[3] > 0
    assert np.all((norms[:3] == 0) == stop_gradient)


def test_a_cycle_is_named():
    units = RelationUnits(((1,), (0,)), (4,))
    with pytest.raises(InputError, match="cycle: 0 -> 1 -> 0"):
        units.init(jax.random.key(0), jnp.ones((2, 3, 4)))
