"""LeNet: against SciPy's correlation, by hand, and per task."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from mtl.compilation import compile_quickly
from mtl.layers.lenet import LeNet, max_pool, patches

NO_IDS = jnp.zeros((3, 0), jnp.int32)


def random_params(module, images, seed=0):
    """Biases are drawn too, so that their place is tested."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), NO_IDS, images)["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), shapes)


@functools.cache
def compiled(module):
    return jax.jit(module.apply)


def images_of(side, seed=1):
    return jnp.asarray(np.random.default_rng(seed).random((3, side * side)), jnp.float32)


def reference(params, images, side):
    """The same network in float64, one channel and one pixel block at a time."""
    out = []
    for image in np.asarray(images, np.float64).reshape(-1, side, side):
        maps = [image]
        for layer in ("conv0", "conv1"):
            bias = np.asarray(params[layer]["bias"], np.float64)
            kernel = np.asarray(params[layer]["kernel"], np.float64).reshape(5, 5, len(maps), len(bias))
            new = []
            for o, b in enumerate(bias):
                y = b + sum(correlate2d(m, kernel[:, :, c, o], "valid") for c, m in enumerate(maps))
                rows, columns = y.shape[0] // 2, y.shape[1] // 2
                blocks = [
                    [y[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].max() for c in range(columns)]
                    for r in range(rows)
                ]
                new.append(np.maximum(blocks, 0.0))
            maps = new
        out.append(np.stack(maps, axis=-1).ravel())
    return np.array(out)


@pytest.mark.parametrize("side", [17, 28])
def test_features_are_those_of_convolutions_by_scipy(side):
    """A side of 17 leaves a row and a column that pooling cannot pair, twice."""
    images = images_of(side)
    params = random_params(LeNet(), images)
    found = compiled(LeNet())({"params": params}, NO_IDS, images)
    expected = reference(params, images, side)
    assert found.shape == (3, {17: 20, 28: 320}[side])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_ones_give_what_is_worked_out_by_hand():
    """All kernels 1, biases 0, on 16×16 ones: 25 · 1, then 10 channels · 25 · 25 = 6250, at the one pixel."""
    images = jnp.ones((3, 256))
    params = jax.tree.map(jnp.zeros_like, random_params(LeNet(), images))
    for layer in params.values():
        layer["kernel"] = jnp.ones_like(layer["kernel"])
    found = compiled(LeNet())({"params": params}, NO_IDS, images)
    np.testing.assert_array_equal(found, np.full((3, 20), 6250.0))


def test_patches_hold_the_surroundings_row_by_row():
    x = jnp.arange(2 * 6 * 7 * 3).reshape(2, 6, 7, 3)
    found = patches(x)
    assert found.shape == (2, 2, 3, 75)
    np.testing.assert_array_equal(found[1, 1, 2], x[1, 1:6, 2:7].ravel())


def test_pooling_takes_the_largest_of_each_block_and_keeps_nan():
    x = jnp.array([[1.0, 5.0, 2.0, 0.0, 9.0], [3.0, 4.0, -1.0, -2.0, 9.0], [9.0] * 5])[..., None]
    np.testing.assert_array_equal(jax.jit(max_pool)(x)[..., 0], [[5.0, 2.0]])
    assert jnp.isnan(jax.jit(max_pool)(jnp.full((8, 24, 24, 10), jnp.nan))).all()


def test_a_private_network_per_task_equals_networks_on_their_own():
    images = images_of(16)
    params = random_params(LeNet((2,)), images)
    found = compiled(LeNet((2,)))({"params": params}, NO_IDS, images)
    assert found.shape == (2, 3, 20)
    for t in range(2):
        own = jax.tree.map(lambda p, t=t: p[t], params)
        alone = compiled(LeNet())({"params": own}, NO_IDS, images)
        np.testing.assert_allclose(found[t], alone, rtol=1e-5, atol=1e-5 * alone.max())


def test_gradients_reach_every_parameter_and_agree_with_finite_differences(x64):
    images = images_of(16)
    params = jax.tree.map(lambda p: p.astype(jnp.float64), random_params(LeNet(), images))

    def value(params):
        return jnp.sin(LeNet(dtype=jnp.float64).apply({"params": params}, NO_IDS, images)).sum()

    gradient = jax.jit(jax.grad(value))(params)
    assert all(jnp.any(g != 0) for g in jax.tree.leaves(gradient))
    rng = np.random.default_rng(3)
    direction = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape)), params)
    along = jax.jit(lambda s: value(jax.tree.map(lambda p, d: p + s * d, params, direction)))
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, direction)))
    np.testing.assert_allclose((along(1e-7) - along(-1e-7)) / 2e-7, slope, rtol=1e-4)


def test_initial_kernels_have_the_variance_of_one_kernels_fan_in():
    init = jax.jit(LeNet((4,)).init, compiler_options=compile_quickly())
    params = init(jax.random.key(0), NO_IDS, images_of(16))["params"]
    assert params["conv1"]["kernel"].shape == (4, 250, 20)
    np.testing.assert_allclose(params["conv1"]["kernel"].var(), 2.0 / 250, rtol=0.05)
    assert not jnp.array_equal(params["conv0"]["kernel"][0], params["conv0"]["kernel"][1])


def test_computes_in_bfloat16_with_float32_parameters():
    images = images_of(16)
    module = LeNet(dtype=jnp.bfloat16)
    init = jax.jit(module.init, compiler_options=compile_quickly())
    variables = init(jax.random.key(0), NO_IDS, images)
    assert compiled(module)(variables, NO_IDS, images).dtype == jnp.bfloat16
    assert {p.dtype for p in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
