"""Stacked dense layers against plain loops, and their initialisation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.layers import RELU_GAIN, StackedDense, StackedMLP, stacked_init, stacked_matmul

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "shared, rest", [((), ()), ((), (3,)), ((3,), ()), ((2,), (3,)), ((), (2, 3)), ((2, 3), ())]
)
def test_stacked_matmul_is_one_product_per_kernel(shared, rest):
    x = RNG.normal(size=(*shared, 5, 4))
    kernel = RNG.normal(size=(*shared, *rest, 4, 6))
    y = stacked_matmul(jnp.float32(x), jnp.float32(kernel))
    assert y.shape == (*shared, *rest, 5, 6)
    for s in np.ndindex(*shared):
        for r in np.ndindex(*rest):
            np.testing.assert_allclose(y[s + r], x[s] @ kernel[s + r], rtol=1e-5, atol=1e-5)


def test_shared_rows_are_not_copied_per_kernel():
    x, kernel = jnp.ones((50, 70)), jnp.ones((8, 70, 2))
    jaxpr = jax.make_jaxpr(lambda x, k: jax.vjp(stacked_matmul, x, k)[1](jnp.ones((8, 50, 2))))(x, kernel)
    sizes = [v.aval.size for eqn in jaxpr.jaxpr.eqns for v in eqn.outvars]
    assert max(sizes) <= 50 * 70


def test_every_kernel_starts_at_its_own_fan_in_and_no_two_are_equal():
    kernels = stacked_init(2, RELU_GAIN)(jax.random.key(0), (3, 2, 400, 50), jnp.float32)
    flat = np.asarray(kernels).reshape(6, -1)
    np.testing.assert_allclose(flat.std(axis=1), np.sqrt(2 / 400), rtol=0.03)
    correlation = np.corrcoef(flat) - np.eye(6)
    assert np.abs(correlation).max() < 0.05


def test_stacked_dense_adds_each_layers_own_bias():
    layer = StackedDense((2,), 1)
    params = {"kernel": jnp.array([[[2.0]], [[3.0]]]), "bias": jnp.array([[10.0], [20.0]])}
    y = layer.apply({"params": params}, jnp.array([[1.0], [4.0]]))
    np.testing.assert_array_equal(y[..., 0], [[12.0, 18.0], [23.0, 32.0]])


def test_computation_dtype_leaves_parameters_in_float32():
    layer = StackedDense((2,), 3, dtype=jnp.bfloat16)
    y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((5, 4)))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_mlp_matches_loops_over_networks():
    x = RNG.normal(size=(5, 4))
    net = StackedMLP((2, 3), (6, 7))
    shapes = jax.eval_shape(net.init, jax.random.key(1), jnp.float32(x))["params"]
    params = jax.tree.map(lambda p: jnp.float32(RNG.normal(size=p.shape)), shapes)
    y = jax.jit(net.apply)({"params": params}, jnp.float32(x))
    for t, e in itertools.product(range(2), range(3)):
        h = x
        for layer in ("dense0", "dense1"):
            kernel, bias = params[layer]["kernel"], params[layer]["bias"]
            h = np.maximum(h @ np.float64(kernel[t, e]) + np.float64(bias[t, e]), 0)
        np.testing.assert_allclose(y[t, e], h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4)])
def test_mlp_without_layers_passes_the_input_to_every_network(shape):
    x = jnp.asarray(RNG.normal(size=shape), jnp.float32)
    y = StackedMLP((3,), ()).apply({}, x)
    np.testing.assert_array_equal(y, np.broadcast_to(x, (3, 5, 4)))


@pytest.mark.parametrize("stack", [(), (2,)])
def test_inputs_side_by_side_are_one_input(stack):
    """A row of the second one stands for the three positions of its row in the first and third."""
    first, third = (RNG.normal(size=(*stack, 12, width)) for width in (4, 2))
    second = RNG.normal(size=(*stack, 4, 3))
    joined = np.concatenate([first, np.repeat(second, 3, axis=-2), third], axis=-1)
    dense = StackedDense(stack, 5, relu=True)
    variables = dense.init(jax.random.key(0), jnp.float32(joined))
    shapes = jax.tree.map(jnp.shape, dense.init(jax.random.key(0), *map(jnp.float32, (first, second, third))))
    assert shapes == jax.tree.map(jnp.shape, variables)
    apart = dense.apply(variables, *map(jnp.float32, (first, second, third)))
    np.testing.assert_allclose(apart, dense.apply(variables, jnp.float32(joined)), rtol=1e-5, atol=1e-6)
