"""Methods that look at losses alone, step by step against hand calculation and NumPy."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.weightings import WEIGHTINGS, build, observe
from mtl.weightings.go4align import group_means

ROWS = {"x": jnp.eye(3)}


def sequence(name, losses, after=None, **arguments):
    """The weights of every step for a sequence of losses [K, T]."""
    losses = np.asarray(losses, np.float32)
    size = losses.shape[1]
    tx = WEIGHTINGS[name](num_tasks=size, **arguments)
    state = tx.init(jnp.zeros(size))
    out = []
    for k, loss in enumerate(losses):
        _, state = tx.update(jnp.eye(size), state, losses=jnp.asarray(loss))
        out.append(np.asarray(state.weights))
        if after is not None:
            state = observe(state, jnp.asarray(after[k], jnp.float32))
    return np.stack(out), state


def test_gls_by_hand():
    found, _ = sequence("gls", [[1.0, 4.0]])  # geometric mean 2
    np.testing.assert_allclose(found[0], (2 / (2 * 1), 2 / (2 * 4)), rtol=1e-6)


def test_gls_leaves_out_a_task_without_rows():
    found, _ = sequence("gls", [[1.0, 4.0, 0.0]])
    np.testing.assert_allclose(found[0], (1.0, 0.25, 0.0), rtol=1e-6)


@pytest.mark.parametrize("name", ["gls", "si", "stch", "go4align"])
def test_a_negative_loss_has_no_logarithm(name):
    more = {"steps_per_epoch": 1} if name == "stch" else {}
    found, _ = sequence(name, [[1.0, -4.0]], **more)
    assert np.isnan(found[0]).any()


def test_dwa_by_hand():
    """Two epochs of two steps with means (2, 1) and (1, 1): r = (½, 1), τ = 2."""
    losses = [[1.0, 1.0], [3.0, 1.0], [0.5, 1.0], [1.5, 1.0], [9.0, 9.0]]
    found, _ = sequence("dwa", losses, steps_per_epoch=2)
    np.testing.assert_allclose(found[:4], 1.0)
    raw = np.exp(np.array([0.5, 1.0]) / 2)
    np.testing.assert_allclose(found[4], 2 * raw / raw.sum(), rtol=1e-6)


def test_dwa_goes_on_with_the_last_two_epochs():
    losses = [[4.0, 1.0], [2.0, 1.0], [1.0, 3.0], [7.0, 7.0]]
    found, _ = sequence("dwa", losses, steps_per_epoch=1)
    raw = np.exp(np.array([1 / 2, 3 / 1]) / 2)
    np.testing.assert_allclose(found[3], 2 * raw / raw.sum(), rtol=1e-6)


def test_rlw_is_a_softmax_of_normal_draws():
    found, _ = sequence("rlw", np.ones((2000, 3)))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    logs = np.log(found) - np.log(found).mean(axis=1, keepdims=True)
    # z_i − z̄ has variance 2/3 for three standard normals; 4 standard errors
    np.testing.assert_allclose(logs.var(axis=0), 2 / 3, atol=4 * (2 / 3) * np.sqrt(2 / 2000))
    assert np.abs(np.corrcoef(logs[:-1, 0], logs[1:, 0])[0, 1]) < 4 / np.sqrt(2000)


def test_imtl_l_brings_the_weighted_losses_to_one():
    found, _ = sequence("imtl_l", np.tile([0.2, 5.0], (3000, 1)), learning_rate=0.01)
    np.testing.assert_allclose(found[-1] * (0.2, 5.0), 1, atol=1e-3)


def test_imtl_l_leaves_a_task_without_rows_alone():
    found, _ = sequence("imtl_l", np.tile([0.0, 5.0], (20, 1)), learning_rate=0.1)
    np.testing.assert_allclose(found[:, 0], 1.0)
    assert found[-1, 1] < 0.5


def test_famo_against_numpy():
    """Algorithm 1 in float64, with Adam and coupled decay written out."""
    rng = np.random.default_rng(0)
    losses, after = rng.uniform(0.5, 2, (6, 3)), rng.uniform(0.3, 1.8, (6, 3))
    found, _ = sequence("famo", losses, after, decay=1e-2)
    xi, m, v = np.zeros(3), np.zeros(3), np.zeros(3)
    for k in range(6):
        z = np.exp(xi) / np.exp(xi).sum()
        a = z / losses[k]
        np.testing.assert_allclose(found[k], a / a.sum(), rtol=2e-5)
        delta = np.log(losses[k]) - np.log(after[k])
        slope = (np.diag(z) - np.outer(z, z)) @ delta + 1e-2 * xi
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        xi = xi - 0.025 * (m / (1 - 0.9 ** (k + 1))) / (np.sqrt(v / (1 - 0.999 ** (k + 1))) + 1e-8)


def test_famo_lowers_the_weight_of_the_task_that_improved_most():
    found, _ = sequence("famo", np.ones((30, 2)), np.tile([0.5, 0.99], (30, 1)))
    assert found[-1, 0] < 0.4


def test_famo_without_observation_shows_it():
    found, _ = sequence("famo", np.ones((2, 2)))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


def test_stch_by_hand():
    """One epoch of warm-up, one of measuring (nadir (1, 4)), then T softmax(log(L/n)/μ)/L."""
    losses = [[5.0, 5.0], [1.0, 4.0], [0.5, 4.0]]
    found, _ = sequence("stch", losses, steps_per_epoch=1, warmup_epochs=1, mu=0.5)
    np.testing.assert_allclose(found[0], (0.2, 0.2), rtol=1e-6)
    np.testing.assert_allclose(found[1], (1.0, 0.25), rtol=1e-6)
    raw = np.array([0.5, 1.0]) ** (1 / 0.5)
    np.testing.assert_allclose(found[2], 2 * raw / raw.sum() / (0.5, 4.0), rtol=1e-6)


def test_stch_in_its_generic_form():
    found, _ = sequence("stch", [[1.0, 3.0]], steps_per_epoch=1, form="generic", mu=0.5, ideal=(0.0, 1.0))
    raw = np.exp(0.5 * np.array([1.0, 2.0]) / 0.5)
    np.testing.assert_allclose(found[0], 0.5 * raw / raw.sum(), rtol=1e-6)


def test_stch_of_small_mu_is_the_worst_task():
    found, _ = sequence("stch", [[2.0, 2.0], [1.0, 3.0]], steps_per_epoch=1, warmup_epochs=0, mu=1e-3)
    np.testing.assert_allclose(found[1], (0.0, 2 / 3.0), atol=1e-6)


def test_go4align_with_a_group_per_task():
    """K ≥ T: a = q = π ΣL / L, and η = 0 keeps π = 1/T."""
    found, _ = sequence("go4align", [[1.0, 3.0]], num_groups=5, step_size=0.0)
    np.testing.assert_allclose(found[0], (0.5 * 4 / 1, 0.5 * 4 / 3), rtol=1e-6)


def test_go4align_groups_share_their_mean():
    found, _ = sequence("go4align", [[1.0, 1.1, 10.0]], step_size=0.0)
    q = 12.1 / np.array([1.0, 1.1, 10.0]) / 3
    np.testing.assert_allclose(found[0], (q[:2].mean(), q[:2].mean(), q[2]), rtol=1e-5)


def test_go4align_remembers_the_losses():
    found, _ = sequence("go4align", np.tile([1.0, 3.0], (3, 1)), num_groups=2, step_size=0.5)
    risk = np.exp(-0.5 * 3 * np.array([1.0, 3.0]))
    np.testing.assert_allclose(found[2], risk / risk.sum() * 4 / np.array([1.0, 3.0]), rtol=1e-5)


@pytest.mark.parametrize("num_groups", [1, 2, 3, 4])
def test_groups_are_the_best_of_all_partitions(num_groups):
    """Against every assignment of six values to at most K groups."""
    for seed in range(5):
        values = np.random.default_rng(seed).exponential(size=6)
        found = np.asarray(group_means(jnp.asarray(values, jnp.float32), num_groups))
        best = min(
            sum(((values[g] - values[g].mean()) ** 2).sum() for g in groups if len(g))
            for labels in itertools.product(range(num_groups), repeat=6)
            for groups in [[np.flatnonzero(np.array(labels) == k) for k in range(num_groups)]]
        )
        assert ((values - found) ** 2).sum() == pytest.approx(best, rel=1e-4, abs=1e-6)


def test_slaw_is_the_inverse_spread():
    """Constant scales: weights inverse to the standard deviation, Σ = T."""
    noise = np.random.default_rng(0).normal(size=(400, 1))
    found, state = sequence("slaw", 5 + noise * [0.1, 0.4], decay=0.999)
    np.testing.assert_allclose(found[0], 1.0)
    np.testing.assert_allclose(found[-1], (2 * 0.8, 2 * 0.2), rtol=1e-3)
    np.testing.assert_allclose(np.sqrt(state.variance), noise.std() * np.array([0.1, 0.4]), rtol=1e-3)


def test_group_dro_by_hand():
    found, _ = sequence("group_dro", [[1.0, 2.0], [1.0, 4.0]], step_size=0.5)
    raw = np.exp(0.5 * np.array([1.0, 2.0]))
    np.testing.assert_allclose(found[0], 2 * raw / raw.sum(), rtol=1e-6)
    raw = np.exp(0.5 * np.array([2.0, 6.0]))
    np.testing.assert_allclose(found[1], 2 * raw / raw.sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("dwa", {"steps_per_epoch": 0}, "steps_per_epoch is 0"),
        ("dwa", {"steps_per_epoch": 1, "temperature": 0.0}, "temperature is 0.0"),
        ("stch", {"steps_per_epoch": 1, "mu": -1.0}, "mu is -1.0"),
        ("stch", {"steps_per_epoch": 1, "form": "log"}, "unknown STCH form 'log'"),
        ("stch", {"steps_per_epoch": 1, "preference": (1.0, 0.0)}, "preference is"),
        ("famo", {"learning_rate": 0.0}, "learning_rate is 0.0"),
        ("go4align", {"num_groups": 0}, "num_groups is 0"),
        ("imtl_l", {"learning_rate": -1.0}, "learning_rate is -1.0"),
        ("slaw", {"decay": 1.0}, "decay is 1.0"),
        ("group_dro", {"step_size": -1.0}, "step_size is -1.0"),
    ],
)
def test_wrong_arguments_are_named(name, arguments, message):
    with pytest.raises(InputError, match=message):
        WEIGHTINGS[name](num_tasks=2, **arguments)


def test_smoothing_averages_the_weights():
    """ā = .75 ā + .25 a, from the first a."""
    tx = build({"name": "si", "smooth": 0.75}, kinds=["regression"] * 2)
    state = tx.init(jnp.zeros(2))
    rows = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    _, state = tx.update(rows, state, losses=jnp.array([1.0, 0.5]))
    np.testing.assert_allclose(state.weights, (1.0, 2.0))
    update, state = tx.update(rows, state, losses=jnp.array([0.25, 0.5]))
    np.testing.assert_allclose(state.weights, (0.75 + 0.25 * 4, 2.0))
    np.testing.assert_allclose(update, state.weights)


@pytest.mark.parametrize("name", ["db_mtl", "moco", "graddrop"])
def test_what_does_not_weigh_gradients_cannot_be_smoothed(name):
    with pytest.raises(InputError, match="it takes no smooth"):
        build({"name": name, "smooth": 0.5}, kinds=["regression"] * 2)
    with pytest.raises(InputError, match="it takes no normalize='sum_one'"):
        build({"name": name, "normalize": "sum_one"}, kinds=["regression"] * 2)
