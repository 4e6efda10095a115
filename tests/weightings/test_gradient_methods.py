"""Methods with memory or chance on the gradients, step by step against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from on_gramians import apply, random_rows, weights

from mtl.compilation import compile_quickly
from mtl.errors import InputError
from mtl.weightings import WEIGHTINGS, with_key

pytestmark = pytest.mark.usefixtures("x64")


def sequence(name, rows, losses=None, **arguments):
    """Updates and states for a sequence of Jacobians [K, T, P]."""
    rows = jnp.asarray(rows)
    losses = jnp.ones(rows.shape[:2]) if losses is None else jnp.asarray(losses)
    tx = WEIGHTINGS[name](num_tasks=rows.shape[1], **arguments)
    state, out = tx.init(rows[0, 0]), []
    update_once = jax.jit(
        lambda g, state, loss: tx.update(g, state, losses=loss, jacobians=(g, g)),
        compiler_options=compile_quickly(),
    )
    for g, loss in zip(rows, losses, strict=True):
        update, state = update_once(g, state, loss)
        out.append((np.asarray(update), state))
    return out


def gradients(steps=4, num_tasks=3, dim=5, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, num_tasks, dim))


def test_pcgrad_by_its_definition():
    """The order drawn from the key, then Algorithm 1 on the vectors."""
    tx = WEIGHTINGS["pcgrad"](4)
    update_once = jax.jit(tx.update, compiler_options=compile_quickly())
    for seed in range(5):
        rows = random_rows(4, 4, seed)
        state = with_key(tx.init(rows[0]), jax.random.key(seed))
        update, _ = update_once(jnp.asarray(rows), state)
        now, _ = jax.random.split(jax.random.key(seed))
        orders = [jax.random.permutation(k, 4) for k in jax.random.split(now, 4)]
        total = np.zeros(4)
        for i, order in enumerate(orders):
            x = rows[i].copy()
            for j in np.asarray(order):
                if j != i and x @ rows[j] < 0:
                    x -= x @ rows[j] / (rows[j] @ rows[j]) * rows[j]
            total += x
        np.testing.assert_allclose(update, total, rtol=1e-9)


def test_pcgrad_on_average_does_not_depend_on_the_order_of_tasks():
    rows = random_rows(3, 3, seed=1)
    rows[2] = -0.5 * rows[0] + 0.3 * rows[2]
    order = [2, 0, 1]
    one = np.mean([weights("pcgrad", rows, seed=s) for s in range(60)], axis=0)
    other = np.mean([weights("pcgrad", rows[order], seed=s) for s in range(60)], axis=0)
    np.testing.assert_allclose(other, one[order], atol=0.25)


def test_gradvac_by_its_definition():
    """Two steps of Algorithm 1 on the vectors, with the running cosines."""
    beta, key = 0.3, jax.random.key(7)
    steps = gradients(2, 3, 4, seed=3)
    tx = WEIGHTINGS["gradvac"](3, beta=beta)
    state = with_key(tx.init(jnp.zeros(4)), key)
    target = np.zeros((3, 3))
    update_once = jax.jit(tx.update, compiler_options=compile_quickly())
    for rows in steps:
        update, state = update_once(jnp.asarray(rows), state)
        now, key = jax.random.split(key)
        total = np.zeros(4)
        for i, k in enumerate(jax.random.split(now, 3)):
            x = rows[i].copy()
            for j in np.asarray(jax.random.permutation(k, 3)):
                if j == i:
                    continue
                phi = x @ rows[j] / np.linalg.norm(x) / np.linalg.norm(rows[j])
                goal = target[i, j]
                if phi < goal:
                    step = goal * np.sqrt(1 - phi**2) - phi * np.sqrt(1 - goal**2)
                    x += np.linalg.norm(x) * step / np.linalg.norm(rows[j]) / np.sqrt(1 - goal**2) * rows[j]
                target[i, j] = (1 - beta) * goal + beta * phi
            total += x
        np.testing.assert_allclose(update, total, rtol=1e-5)
        np.testing.assert_allclose(state.target, target, atol=1e-6)


def test_gradvac_raises_a_cosine_to_its_target():
    """After the correction the cosine of x and g_j is φ̂, where it was below."""
    rows = np.array([[1.0, 0.0], [-0.6, 0.8]])
    tx = WEIGHTINGS["gradvac"](2)
    state = tx.init(jnp.zeros(2))._replace(target=jnp.array([[0.0, 0.5], [-1.0, 0.0]]))
    update, _ = tx.update(jnp.asarray(rows), state)
    x = np.asarray(update) - rows[1]  # task 1 has a target below its cosine and stays
    assert x @ rows[1] / np.linalg.norm(x) == pytest.approx(0.5)


def test_gradnorm_by_hand():
    """d = (1, 3), w = 1, equal rates: t = mean(n) = 2, signs (−, +); SGD on d / mean d = (½, 3/2)."""
    import optax

    rows = np.array([[1.0, 0.0], [0.0, 3.0]])
    first, second = sequence("gradnorm", [rows, rows], optimizer=optax.sgd(0.1))
    np.testing.assert_allclose(first[1].weights, (1.0, 1.0))
    moved = np.array([1 + 0.1 * 0.5, 1 - 0.1 * 1.5])
    np.testing.assert_allclose(second[1].weights, 2 * moved / moved.sum(), rtol=1e-6)


def test_gradnorm_pulls_the_slow_task():
    """Equal gradients; the task whose loss has not fallen gets more weight, the more so the larger α."""
    rows = np.tile(np.array([[1.0, 0.0], [0.0, 1.0]]), (40, 1, 1))
    losses = np.tile([0.2, 1.0], (40, 1))
    losses[0] = 1.0
    out = sequence("gradnorm", rows, losses)[-1][1].weights
    flat = sequence("gradnorm", rows, losses, alpha=0.0)[-1][1].weights
    assert out[1] > out[0] + 0.2
    assert np.sum(out) == pytest.approx(2, rel=1e-5)
    np.testing.assert_allclose(flat, 1, atol=0.05)


def test_db_mtl_against_numpy():
    g = gradients(4)
    losses = np.random.default_rng(1).uniform(0.5, 2, (4, 3))
    m = np.zeros((3, 5))
    for k, (update, _) in enumerate(sequence("db_mtl", g, losses, beta=0.6, sigma=0.5)):
        beta = 0.6 / (k + 1) ** 0.5
        m = beta * m + (1 - beta) * g[k] / losses[k][:, None]
        norms = np.linalg.norm(m, axis=1)
        np.testing.assert_allclose(update, (norms.max() / norms) @ m, rtol=1e-5)


@pytest.mark.parametrize("normalizer", ["none", "unit", "loss"])
def test_moco_against_numpy(normalizer):
    g = gradients(4)
    losses = np.random.default_rng(1).uniform(0.5, 2, (4, 3))
    y, lam = np.zeros((3, 5)), np.full(3, 1 / 3)
    for k, (update, state) in enumerate(sequence("moco", g, losses, normalizer=normalizer, rho=0.2)):
        norms = np.linalg.norm(g[k], axis=1)
        factor = {"none": np.ones(3), "unit": 1 / norms, "loss": losses[k] / norms}[normalizer]
        y += 0.5 / np.sqrt(k + 1) * (factor[:, None] * g[k] - y)
        lam = simplex(lam - 0.1 / np.sqrt(k + 1) * (y @ y.T @ lam + 0.2 * lam))
        np.testing.assert_allclose(state.weights, lam, atol=1e-6)
        np.testing.assert_allclose(update, lam @ y, rtol=1e-5, atol=1e-7)


def test_modo_and_sdmgrad_use_the_other_batches_for_the_weights():
    """J₁J₂ᵀ decides about the weights, J₃ is what they act on."""
    one, two, three = gradients(3)
    lam = np.full(3, 1 / 3)
    tx = WEIGHTINGS["modo"](3, gamma=0.1, rho=0.2)
    update, state = tx.update(jnp.asarray(three), tx.init(jnp.zeros(5)), jacobians=(one, two))
    expected = simplex(lam - 0.1 * (one @ two.T @ lam + 0.2 * lam))
    np.testing.assert_allclose(state.weights, expected, atol=1e-6)
    np.testing.assert_allclose(update, expected @ three, rtol=1e-5)

    tx = WEIGHTINGS["sdmgrad"](3, iterations=3, learning_rate=0.2)
    update, state = tx.update(jnp.asarray(three), tx.init(jnp.zeros(5)), jacobians=(one, two))
    a = one @ two.T
    a = a / np.mean(np.sqrt(np.maximum(np.diag(a), 0))) ** 2
    w, v, p = lam, np.zeros(3), lam
    for _ in range(3):
        v = 0.5 * v + a @ (w + 0.3 * p)
        w = simplex(w - 0.2 * v)
    np.testing.assert_allclose(state.weights, (w + 0.3 * p) / 1.3, atol=1e-6)
    np.testing.assert_allclose(update, (w + 0.3 * p) / 1.3 @ three, rtol=1e-5)


def test_excess_mtl_against_numpy():
    g = gradients(4)
    s, log_w, first = np.zeros((3, 5)), np.zeros(3), None
    for k, (update, state) in enumerate(sequence("excess_mtl", g, step_size=0.7)):
        s += g[k] ** 2
        e = (g[k] ** 2 / np.sqrt(s)).sum(axis=1)
        if first is None:
            first = e
        else:
            log_w += 0.7 * e / first
        w = 3 * np.exp(log_w) / np.exp(log_w).sum()
        np.testing.assert_allclose(state.weights, w, rtol=1e-5)
        np.testing.assert_allclose(update, w @ g[k], rtol=1e-5)


def test_graddrop_reports_what_it_kept():
    rows = random_rows(3, 50, seed=2)
    for leak in (0.0, 1.0):
        update, state = apply("graddrop", rows, leak=leak)
        if leak == 1.0:
            np.testing.assert_allclose(update, rows.sum(axis=0), rtol=1e-6)
            np.testing.assert_allclose(state.weights, 1.0)
        else:
            assert (np.asarray(state.weights) > 0).all()
            assert (np.asarray(state.weights) < 1).all()


def test_nash_keeps_its_weights_between_solutions():
    g = gradients(5)
    states = [s for _, s in sequence("nash_mtl", g, update_every=2)]
    np.testing.assert_array_equal(states[0].weights, states[1].weights)
    np.testing.assert_array_equal(states[2].weights, states[3].weights)
    assert not np.allclose(states[1].weights, states[2].weights)
    updates = [u for u, _ in sequence("nash_mtl", g, update_every=2)]
    np.testing.assert_allclose(updates[1], states[1].weights @ g[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cagrad", {"c": -0.1}, "c is -0.1"),
        ("cagrad", {"rescale": "yes"}, "unknown CAGrad rescale 'yes'"),
        ("nash_mtl", {"max_norm": 0.0}, "max_norm is 0.0"),
        ("nash_mtl", {"update_every": 0}, "update_every is 0"),
        ("fairgrad", {"alpha": 0.0}, "alpha is 0.0"),
        ("fairgrad", {"preference": (1.0, -1.0)}, "preference is"),
        ("aligned_mtl", {"scale": "rmse"}, "unknown Aligned-MTL scale 'rmse'"),
        ("upgrad", {"preference": 0.0}, "preference is 0.0"),
        ("dual_proj", {"preference": (0.5,)}, "expected 2 numbers"),
        ("imtl_g", {"total": "sum"}, "unknown IMTL-G total 'sum'"),
        ("pcgrad", {"reduction": "max"}, "unknown PCGrad reduction 'max'"),
        ("gradvac", {"beta": 1.5}, "beta is 1.5"),
        ("gradnorm", {"alpha": -1.0}, "alpha is -1.0"),
        ("ntkmtl", {"exponent": -0.5}, "exponent is -0.5"),
        ("db_mtl", {"beta": 1.0}, "beta is 1.0"),
        ("db_mtl", {"tap": True}, "tap needs beta = 0"),
        ("moco", {"normalizer": "l2"}, "unknown MoCo normalizer 'l2'"),
        ("moco", {"beta": 0.0}, "beta is 0.0"),
        ("modo", {"gamma": 0.0}, "gamma is 0.0"),
        ("sdmgrad", {"lam": -1.0}, "lam, learning_rate and momentum are"),
        ("sdmgrad", {"iterations": 0}, "iterations is 0"),
        ("excess_mtl", {"step_size": -1.0}, "step_size is -1.0"),
        ("graddrop", {"leak": 2.0}, "leak is 2.0"),
    ],
)
def test_wrong_arguments_are_named(name, arguments, message):
    with pytest.raises(InputError, match=message):
        WEIGHTINGS[name](num_tasks=2, **arguments)


def simplex(x):
    """Projection by bisection on the threshold, independent of the library's sort."""
    low, high = x.min() - 1, x.max()
    for _ in range(100):
        mid = 0.5 * (low + high)
        low, high = (mid, high) if np.maximum(x - mid, 0).sum() > 1 else (low, mid)
    return np.maximum(x - low, 0)
