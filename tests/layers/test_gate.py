"""Gates: softmax, dropout and diagnostics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mtl.layers import Gate, dropped_softmax, gate_statistics, mix

RNG = np.random.default_rng(0)


def gate_params(kernel):
    return {"params": {"dense": {"kernel": jnp.asarray(kernel, jnp.float32)}}}


def test_weights_are_the_softmax_of_a_linear_map_without_bias():
    kernel = [[[0.0, np.log(3.0)]], [[np.log(4.0), 0.0]]]
    x = jnp.array([[1.0], [0.0], [-1.0]])
    weights = Gate(2, 2).apply(gate_params(kernel), x)
    expected = [[[0.25, 0.75], [0.5, 0.5], [0.75, 0.25]], [[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]]]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_each_gate_can_have_its_own_selector():
    kernel = RNG.normal(size=(2, 3, 4))
    x = jnp.asarray(RNG.normal(size=(2, 5, 3)), jnp.float32)
    weights = Gate(2, 4).apply(gate_params(kernel), x)
    for g in range(2):
        alone = Gate(1, 4).apply(gate_params(kernel[g : g + 1]), x[g])
        np.testing.assert_allclose(weights[g], alone[0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 4, 5, 6)])
def test_mix_is_the_weighted_sum_of_experts(shape):
    weights = RNG.normal(size=(3, 5, 4))
    experts = RNG.normal(size=shape)
    y = mix(jnp.float32(weights), jnp.float32(experts))
    for g in range(3):
        own = experts if experts.ndim == 3 else experts[g]
        expected = sum(weights[g, :, e, None] * own[e] for e in range(4))
        np.testing.assert_allclose(y[g], expected, rtol=1e-4, atol=1e-5)


def test_statistics_by_hand():
    weights = jnp.array([[[0.5, 0.5], [1.0, 0.0]], [[0.96, 0.04], [0.94, 0.06]]])
    stats = gate_statistics(weights)
    rows = [-0.96 * np.log(0.96) - 0.04 * np.log(0.04), -0.94 * np.log(0.94) - 0.06 * np.log(0.06)]
    np.testing.assert_allclose(stats["entropy"], [np.log(2) / 2, np.mean(rows)], rtol=1e-5)
    np.testing.assert_allclose(stats["utilisation"], [[0.75, 0.25], [0.95, 0.05]], rtol=1e-5)
    np.testing.assert_allclose(stats["utilisation_sd"], [[0.25, 0.25], [0.01, 0.01]], rtol=1e-4)
    np.testing.assert_allclose(stats["polarised"], [0.5, 0.5])


def test_diagnostics_describe_the_weights_before_dropout():
    gate = Gate(2, 3, dropout_rate=0.5)
    x = jnp.asarray(RNG.normal(size=(20, 4)), jnp.float32)
    variables = jax.jit(gate.init)(jax.random.key(0), x)
    assert set(variables) == {"params"}
    clean = gate.apply(variables, x)
    _, state = gate.apply(
        variables, x, train=True, rngs={"dropout": jax.random.key(1)}, mutable=["diagnostics"]
    )
    for name, value in gate_statistics(clean).items():
        np.testing.assert_allclose(state["diagnostics"][name], value, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    logits=hnp.arrays(np.float32, (3, 4), elements=st.floats(-8, 8, width=32)),
    keep=hnp.arrays(np.bool_, (3, 4)),
)
def test_dropped_softmax_renormalises_the_kept_weights(logits, keep):
    weights = np.asarray(dropped_softmax(jnp.asarray(logits), jnp.asarray(keep)))
    raw = np.exp(np.float64(logits))
    raw = np.where(keep | ~keep.any(axis=-1, keepdims=True), raw, 0)
    np.testing.assert_allclose(weights, raw / raw.sum(axis=-1, keepdims=True), rtol=2e-5, atol=1e-12)


def test_dropping_the_polarised_expert_leaves_a_finite_mixture():
    logits, keep = jnp.array([[300.0, 0.0, 0.0]]), jnp.array([[False, True, True]])
    np.testing.assert_allclose(dropped_softmax(logits, keep), [[0.0, 0.5, 0.5]])
    grad = jax.grad(lambda z: dropped_softmax(z, keep)[0, 1])(logits)
    np.testing.assert_allclose(grad, [[0.0, 0.25, -0.25]])


def test_dropout_drops_at_its_rate_keeps_the_mean_and_is_off_in_evaluation():
    rate, num_experts, rows = 0.1, 4, 20_000
    gate = Gate(2, num_experts, dropout_rate=rate)
    params = gate_params(np.zeros((2, 1, num_experts)))
    x = jnp.ones((rows, 1))
    weights = np.asarray(gate.apply(params, x, train=True, rngs={"dropout": jax.random.key(0)}))
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose((weights == 0).mean(axis=1), rate, atol=0.01)
    np.testing.assert_allclose(weights.mean(axis=1), 1 / num_experts, atol=0.005)
    dropped = weights == 0
    assert abs(np.corrcoef(dropped[0, :, 0], dropped[1, :, 0])[0, 1]) < 0.03
    assert abs(np.corrcoef(dropped[0, :, 0], dropped[0, :, 1])[0, 1]) < 0.03
    np.testing.assert_array_equal(gate.apply(params, x), np.full((2, rows, num_experts), 0.25))


def test_a_row_never_loses_all_its_experts():
    gate = Gate(1, 2, dropout_rate=0.9)
    params = gate_params(np.zeros((1, 1, 2)))
    weights = gate.apply(params, jnp.ones((2000, 1)), train=True, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_allclose(np.asarray(weights).sum(axis=-1), 1.0)
    # Both kept (0.01) or both dropped and therefore kept (0.81).
    np.testing.assert_allclose(np.mean(np.asarray(weights) == 0.5), 0.82, atol=0.03)
