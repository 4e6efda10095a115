"""DUPN: the property-gated LSTM step by step, padding, and the one user vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.layers import DUPN, Encoder, PropertyGatedLSTM

B, L, E, P, H = 3, 4, 2, 1, 3
RNG = np.random.default_rng(0)
ITEMS = RNG.normal(size=(B, L, E)).astype(np.float32)
PROPERTIES = RNG.normal(size=(B, L, P)).astype(np.float32)
LIVE = np.array([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]], bool)
LSTM = PropertyGatedLSTM(H)


def drawn(module, *args, seed=1):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
    return jax.tree.map(lambda p: jnp.float32(rng.normal(size=p.shape)), shapes)


PARAMS = drawn(LSTM, ITEMS, PROPERTIES, LIVE)
RUN = jax.jit(LSTM.apply)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(items, properties, live):
    """The recurrence in float64, one row and one behaviour at a time."""
    p = jax.tree.map(np.float64, PARAMS["params"])
    (w_i, w_f, w_o), (b_i, b_f, b_o) = (np.split(p["gates"][k], 3, axis=-1) for k in ("kernel", "bias"))
    u_i, u_f, u_o, u_c = np.split(p["recurrent"], 4, axis=-1)
    v_i, v_f, v_o = p["peepholes"][:, 0]
    states = np.zeros((len(items), items.shape[1], H))
    for b in range(len(items)):
        h = c = np.zeros(H)
        for t in range(items.shape[1]):
            if live[b, t]:
                e, x = items[b, t], np.concatenate([items[b, t], properties[b, t]])
                i = sigmoid(x @ w_i + h @ u_i + v_i * c + b_i)
                f = sigmoid(x @ w_f + h @ u_f + v_f * c + b_f)
                new = np.tanh(e @ p["memory"]["kernel"] + h @ u_c + p["memory"]["bias"])
                c = f * c + i * new
                h = sigmoid(x @ w_o + h @ u_o + v_o * c + b_o) * np.tanh(c)
            states[b, t] = h
    return states


def test_states_are_those_of_the_recurrence():
    found = RUN(PARAMS, ITEMS, PROPERTIES, LIVE)
    np.testing.assert_allclose(found, reference(ITEMS, PROPERTIES, LIVE), rtol=1e-4, atol=1e-6)


def test_a_step_of_padding_changes_nothing():
    found = RUN(PARAMS, ITEMS, PROPERTIES, LIVE)
    np.testing.assert_array_equal(found[1, 1], found[1, 2])
    np.testing.assert_array_equal(found[2], 0)
    without = RUN(PARAMS, ITEMS[1:2, [1, 3]], PROPERTIES[1:2, [1, 3]], LIVE[:1, :2])
    np.testing.assert_allclose(found[1, [1, 3]], without[0], rtol=1e-6)


def test_properties_move_gates_alone():
    """With gates held open the memory is that of the items, whatever the properties say."""
    gates = {
        "kernel": jnp.zeros_like(PARAMS["params"]["gates"]["kernel"]),
        "bias": jnp.full_like(PARAMS["params"]["gates"]["bias"], 50.0),
    }
    open_gates = {"params": {**PARAMS["params"], "gates": gates}}
    shut = jax.tree.map(jnp.array, open_gates)
    shut["params"]["gates"]["kernel"] = gates["kernel"].at[E].set(-200.0)
    ones = jnp.ones_like(PROPERTIES)
    found = RUN(open_gates, ITEMS, PROPERTIES, LIVE)
    np.testing.assert_array_equal(found, RUN(open_gates, ITEMS, ones, LIVE))
    assert (found[0] != 0).all()
    np.testing.assert_allclose(RUN(shut, ITEMS, ones, LIVE), 0, atol=1e-6)


def test_states_of_a_stack_are_independent():
    module = PropertyGatedLSTM(H, stack=(2,))
    items, properties = np.stack([ITEMS, -ITEMS]), np.stack([PROPERTIES, PROPERTIES])
    params = drawn(module, items, properties, LIVE)
    found = jax.jit(module.apply)(params, items, properties, LIVE)
    for t in range(2):
        own = jax.tree.map(lambda p, t=t: p[t], params)
        np.testing.assert_allclose(found[t], RUN(own, items[t], properties[t], LIVE), rtol=1e-5, atol=1e-6)


# Columns: item, user, three past items that read the item's table, three past kinds.
ENCODER = DUPN(
    Encoder((5, 4, 5, 5, 5, 3, 3, 3), 2, owners=(0, 1, 0, 0, 0, 5, 5, 5)),
    items=((2, 3, 4),),
    properties=((5, 6, 7),),
    others=(0, 1),
    units=H,
    features=(4,),
)
IDS = np.array([[1, 1, 2, 3, 4, 1, 2, 1], [2, 3, 1, 0, 0, 2, 0, 0], [3, 2, 0, 0, 0, 0, 0, 0]], np.int32)
NUMERIC = np.array([[0.5], [1.0], [2.0]], np.float32)
ENCODER_PARAMS = drawn(ENCODER, IDS, NUMERIC)
ENCODE = jax.jit(ENCODER.apply)


def test_the_user_vector_is_the_attention_over_the_states():
    p = jax.tree.map(np.float64, ENCODER_PARAMS["params"])
    table = p["tables"]["tables"]
    past, kinds = table[IDS[:, [4, 3, 2]]], table[9 + IDS[:, [7, 6, 5]]]
    live = IDS[:, [4, 3, 2]] > 0
    states = np.asarray(RUN({"params": ENCODER_PARAMS["params"]["lstm"]}, past, kinds, live))
    query = np.concatenate([table[IDS[:, 0]], table[5 + IDS[:, 1]]], axis=1)
    x = np.asarray(ENCODE(ENCODER_PARAMS, IDS, NUMERIC))
    assert x.shape == (3, H + 4 + 1)
    np.testing.assert_allclose(x[:, H:], np.concatenate([query, NUMERIC], axis=1), rtol=1e-5)
    for b in range(2):
        q = np.repeat(query[b][None], 3, axis=0)
        inputs = np.concatenate([states[b], kinds[b], q], axis=1)[live[b]]
        mlp, score = p["attention"]["mlp"]["dense0"], p["attention"]["score"]
        scores = (np.maximum(inputs @ mlp["kernel"] + mlp["bias"], 0) @ score["kernel"])[:, 0]
        weights = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(x[b, :H], weights @ states[b][live[b]], rtol=1e-3, atol=1e-5)


def test_a_user_without_history_has_the_vector_0():
    np.testing.assert_array_equal(ENCODE(ENCODER_PARAMS, IDS, NUMERIC)[2, :H], 0)


@pytest.mark.parametrize("place", [3, 4])
def test_what_stands_beside_padding_reaches_nothing(place):
    """Kinds where there is no item: the position is padding all the same."""
    other = IDS.copy()
    other[1, place + 3] = 2
    np.testing.assert_array_equal(
        ENCODE(ENCODER_PARAMS, other, NUMERIC)[1], ENCODE(ENCODER_PARAMS, IDS, NUMERIC)[1]
    )


def test_the_row_of_padding_gets_no_gradient():
    slope = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(ENCODER.apply(p, IDS, NUMERIC)))))(ENCODER_PARAMS)
    moved = np.abs(slope["params"]["tables"]["tables"]).max(axis=1) > 0
    np.testing.assert_array_equal(moved, [0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1])
