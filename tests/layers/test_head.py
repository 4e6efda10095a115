"""Heads of tasks with different numbers of outputs."""

import jax
import jax.numpy as jnp
import numpy as np

from mtl.layers import Heads

RNG = np.random.default_rng(0)
H = jnp.asarray(RNG.normal(size=(2, 5, 3)), jnp.float32)


def test_outputs_are_linear_in_each_tasks_own_units():
    heads = Heads((2, 2))
    params = jax.jit(heads.init)(jax.random.key(0), H)["params"]
    params["dense"]["bias"] = jnp.arange(4.0).reshape(2, 2)
    outputs = heads.apply({"params": params}, H)
    for t in range(2):
        expected = np.float64(H[t]) @ np.float64(params["dense"]["kernel"][t]) + [2 * t, 2 * t + 1]
        np.testing.assert_allclose(outputs[t], expected, rtol=1e-5, atol=1e-6)


def test_padding_outputs_are_zero_and_without_gradient():
    heads = Heads((1, 3))
    params = jax.jit(heads.init)(jax.random.key(0), H)["params"]
    outputs = heads.apply({"params": params}, H)
    assert outputs.shape == (2, 5, 3)
    np.testing.assert_array_equal(outputs[0, :, 1:], 0.0)
    assert np.all(outputs[1] != 0)

    # Even a loss that reads all columns moves nothing through the padding.
    grad = jax.grad(lambda p: jnp.sum(jnp.exp(heads.apply({"params": p}, H))))(params)["dense"]
    for leaf in (grad["kernel"], grad["bias"]):
        np.testing.assert_array_equal(leaf[0, ..., 1:], 0.0)
        assert np.all(leaf[0, ..., 0] != 0)
        assert np.all(leaf[1] != 0)


def test_outputs_are_float32_even_from_bfloat16():
    outputs, _ = Heads((1, 3)).init_with_output(jax.random.key(0), H.astype(jnp.bfloat16))
    assert outputs.dtype == jnp.float32
