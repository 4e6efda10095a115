"""The tap with a slice per task reads the same Gramian as the general one, in one pass."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import task_jacobian
from mtl.compilation import compile_quickly
from mtl.data import IdColumn, Schema
from mtl.jacobian import TaskTap
from mtl.models import build_model, shared_tap, task_cut, zero_perturbations
from mtl.tasks import Task
from mtl.train import make_loss_fn

TASKS = (Task("a"), Task("b", "regression"), Task("c", "multiclass", 3, parents=("a",)))
SCHEMA = Schema((IdColumn("i", 5),), ("x", "y"), TASKS)


MIXED = ("mmoe", "cgc", "ple", "attention_gate", "dselect_k")
"""Extractors whose tasks read experts through mixtures of their own."""

COMMON = ("shared_bottom", "omoe")
"""Extractors whose tasks all read one tensor."""

ARGUMENTS = {"dselect_k": {"entropy_penalty": 0.1}}


def batch(rows=6):
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, 2, rows), rng.normal(size=rows), rng.integers(0, 3, rows)], axis=1)
    return {
        "ids": jnp.asarray(rng.integers(0, 5, (rows, 1)), jnp.int32),
        "numeric": jnp.asarray(rng.normal(size=(rows, 2)), jnp.float32),
        "labels": jnp.asarray(labels, jnp.float32),
    }


W = np.array([0.2, 0.5, 0.3], np.float32)


@functools.cache
def started(name):
    model = build_model({"name": name, **ARGUMENTS.get(name, {})}, SCHEMA)
    init = jax.jit(model.init, compiler_options=compile_quickly())
    return model, init(jax.random.key(0), batch())["params"]


def read(name, tap, what):
    """`what(losses, jacobian)` of a model, compiled."""
    model, params = started(name)
    loss_fn = make_loss_fn(model, TASKS)

    def run(params):
        perturbations = tap(model, params, batch())
        return what(*task_jacobian(loss_fn, params, batch(), jax.random.key(1), tap=perturbations))

    return jax.jit(run, compiler_options=compile_quickly())(params)


def at_tap(losses, jac):
    return losses, jac.mixing, jac.gramian(tap=True), jac.stacked_at_tap(), jac.pullback(W)


@pytest.mark.parametrize("name", MIXED)
def test_one_pass_gives_the_gramian_at_the_experts(name):
    losses, mixing, gramian, stacked, pullback = read(name, shared_tap, at_tap)
    expected_losses, no_mixing, general, general_stacked, expected = read(name, zero_perturbations, at_tap)
    assert isinstance(mixing, jax.Array)
    assert no_mixing is None
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    np.testing.assert_allclose(gramian, general, rtol=1e-4, atol=1e-9)
    # [T, B, E, H] against [T, E, B, H]
    (slices,) = jax.tree.leaves(general_stacked)
    np.testing.assert_allclose(stacked, np.moveaxis(slices, 1, 2), rtol=1e-4, atol=1e-8)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), pullback, expected)


def at_parameters(losses, jac):
    return losses, jac.stacked(), jac.pullback(W), jac.gramian()


@pytest.mark.parametrize("name", COMMON)
def test_one_pass_gives_the_gramian_at_a_common_tensor(name):
    losses, mixing, gramian, stacked, _ = read(name, shared_tap, at_tap)
    expected_losses, _, general, general_stacked, _ = read(name, zero_perturbations, at_tap)
    assert isinstance(mixing, jax.Array)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    np.testing.assert_allclose(gramian, general, rtol=1e-4, atol=1e-9)
    (expected,) = jax.tree.leaves(general_stacked)  # [T, B, H]
    np.testing.assert_allclose(stacked[:, :, 0], expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", MIXED + COMMON)
def test_a_cut_at_the_features_changes_no_gradient(name):
    """Rows, sums and Gramian are those of the plain Jacobian, for leaves before and after the cut."""
    losses, *cut = read(name, task_cut, at_parameters)
    expected_losses, *plain = read(name, lambda *a: None, at_parameters)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(b).max()), cut, plain
    )
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(cut[0]["towers"]))


@pytest.mark.parametrize("name", ["dbmtl2", "single_task", "snr", "cross_stitch"])
def test_models_without_features_per_task_have_no_cut(name):
    assert task_cut(*started(name), batch()) is None


def test_models_whose_tasks_read_each_other_take_the_general_tap():
    mixing, gramian = read("dbmtl2", shared_tap, lambda losses, jac: (jac.mixing, jac.gramian(tap=True)))
    assert mixing is None
    assert np.isfinite(gramian).all()


def test_the_formula_by_hand():
    """Two tasks read z = 2p through h_t = m_t z; losses h_1², 3h_2."""
    m = jnp.array([0.5, 4.0]).reshape(2, 1, 1)

    def loss_fn(p, perturbations):
        h = m * (2 * p) + perturbations.zeros
        return jnp.stack([h[0, 0, 0] ** 2, 3 * h[1, 0, 0]]), m

    _, jac = task_jacobian(loss_fn, jnp.array(1.5), tap=TaskTap(jnp.zeros((2, 1, 1))))
    # dL/dz: 2·h_1·m_1 = 2·1.5·0.5 = 1.5 and 3·m_2 = 12
    np.testing.assert_allclose(jac.gramian(tap=True), [[2.25, 18], [18, 144]])
    np.testing.assert_allclose(jac.gramian(), [[9, 72], [72, 576]])  # dz/dp = 2


def test_aux_comes_after_the_mixing():
    def loss_fn(p, perturbations):
        h = p + perturbations.zeros
        return h[:, 0, 0] ** 2, jnp.ones((2, 1, 1)), "aux"

    def run(p):
        _, jac, aux = task_jacobian(loss_fn, p, tap=TaskTap(jnp.zeros((2, 1, 1))), has_aux=True)
        assert aux == "aux"
        return jac.gramian(tap=True)

    np.testing.assert_allclose(jax.eval_shape(run, jnp.ones((2, 1, 1))).shape, (2, 2))
