"""Identities between methods, and what T = 2 collapses to."""

import jax
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from on_gramians import apply, cosine, random_rows, weights

pytestmark = pytest.mark.usefixtures("x64")

SEEDS = range(4)
BISECTORS = [
    ("nash_mtl", {}),
    ("nash_mtl", {"max_norm": None}),
    ("fairgrad", {}),
    ("imtl_g", {}),
    ("config", {}),
    ("mgda", {"normalizer": "l2", "convention": "scaled"}),
    ("db_mtl", {"beta": 0.0}),
    ("ntkmtl", {}),
]


@pytest.mark.parametrize(("name", "arguments"), BISECTORS, ids=str)
def test_two_tasks_collapse_to_the_bisector(name, arguments):
    """a ∝ 1/d: under Adam these are nearly one algorithm."""
    for seed in SEEDS:
        rows = random_rows(2, 3, seed, spread=2)
        bisector = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).sum(axis=0)
        update, _ = apply(name, rows, **arguments)
        assert cosine(update, bisector) == pytest.approx(1.0, abs=1e-10)


def test_three_tasks_do_not_collapse():
    rows = random_rows(3, seed=1)
    directions = [apply(name, rows)[0] for name in ("nash_mtl", "config", "ntkmtl")]
    assert cosine(directions[0], directions[1]) < 0.999
    assert cosine(directions[1], directions[2]) < 0.999


def test_mgda_with_unit_gradients_raw_is_the_plain_mean_for_two_tasks():
    for seed in SEEDS:
        a = weights("mgda", random_rows(2, 4, seed, spread=2), normalizer="l2")
        np.testing.assert_allclose(a, 0.5, atol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_config_is_collinear_with_imtl_g(size):
    for seed in SEEDS:
        rows = random_rows(size, seed=seed, spread=1)
        assert cosine(apply("config", rows)[0], apply("imtl_g", rows)[0]) == pytest.approx(1.0, abs=1e-9)


def test_two_task_pcgrad_is_upgrad():
    for seed in SEEDS:
        rows = random_rows(2, 2, seed)
        np.testing.assert_allclose(
            apply("pcgrad", rows)[0], apply("upgrad", rows, preference=1.0)[0], atol=1e-10
        )


@pytest.mark.parametrize("size", [2, 3, 6])
def test_fairgrad_of_one_is_nash(size):
    rows = random_rows(size, seed=3, spread=1)
    np.testing.assert_allclose(weights("fairgrad", rows), weights("nash_mtl", rows, max_norm=None), rtol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 6])
def test_nash_has_length_root_t(size):
    update, _ = apply("nash_mtl", random_rows(size, seed=4, spread=2), max_norm=None)
    assert np.linalg.norm(update) == pytest.approx(np.sqrt(size), rel=1e-9)
    clipped, _ = apply("nash_mtl", random_rows(size, seed=4, spread=2))
    assert np.linalg.norm(clipped) == pytest.approx(1.0, rel=1e-9)


def test_cagrad_without_radius_is_the_mean():
    rows = random_rows(4, seed=5)
    np.testing.assert_allclose(apply("cagrad", rows, c=0.0)[0], rows.mean(axis=0), rtol=1e-10)


def test_exact_pe_ltr_without_floors_is_mgda():
    rows = random_rows(4, seed=6)
    np.testing.assert_allclose(weights("pe_ltr", rows, exact=True), weights("mgda", rows), atol=1e-6)


def test_dual_proj_leaves_what_does_not_conflict():
    rows = np.abs(random_rows(4, seed=7))
    np.testing.assert_allclose(weights("dual_proj", rows), 0.25)
    np.testing.assert_allclose(weights("upgrad", rows), 0.25)
    np.testing.assert_allclose(weights("pcgrad", rows), 1.0)


def test_pcd_that_asks_for_no_share_is_dual_proj_of_the_primary_task():
    """At the length of its gradient; with two tasks, what PCGrad makes of that gradient."""
    for seed in SEEDS:
        rows = random_rows(4, 5, seed, spread=1)
        update, _ = apply("pcd", rows, tau=0.0)
        projected, _ = apply("dual_proj", rows, preference=(1.0, 1e-14, 1e-14, 1e-14))
        assert cosine(update, projected) == pytest.approx(1.0, abs=1e-10)
        assert np.linalg.norm(update) == pytest.approx(np.linalg.norm(rows[0]))
    rows = np.array([[2.0, 0.0], [-0.6, 0.8]])
    freed = rows[0] - rows[0] @ rows[1] * rows[1]
    assert cosine(apply("pcd", rows, tau=0.0)[0], freed) == pytest.approx(1.0, abs=1e-10)


def test_uwl_imtl_l_gls_and_si_share_the_stationary_direction():
    rows, losses = random_rows(3, seed=8), np.array([0.3, 2.0, 11.0])
    direction = (rows / losses[:, None]).sum(axis=0)
    assert cosine(apply("si", rows, losses)[0], direction) == pytest.approx(1.0)
    assert cosine(apply("gls", rows, losses)[0], direction) == pytest.approx(1.0)
    at_rest = {"uwl": np.log(losses), "imtl_l": -np.log(losses)}  # the optima of their scales
    for name, scales in at_rest.items():
        update, _ = apply(name, rows, losses, init=tuple(scales))
        assert cosine(update, direction) == pytest.approx(1.0)


def test_smooth_tchebycheff_of_large_mu_is_the_log_sum():
    rows, losses = random_rows(3, seed=9), np.array([0.3, 2.0, 11.0])
    after, _ = apply("stch", rows, losses, steps=3, steps_per_epoch=1, warmup_epochs=0, mu=1e6)
    np.testing.assert_allclose(after, apply("si", rows, losses)[0], rtol=1e-5)


def test_sdmgrad_approaches_its_quadratic_program():
    """With one batch and a small step: min ½‖Jᵀ(w + λp)‖² over the simplex, solved by SciPy."""
    rows = random_rows(3, seed=10)
    lam, p = 0.3, np.full(3, 1 / 3)
    best = scipy.optimize.minimize(
        lambda w: 0.5 * np.sum((rows.T @ (w + lam * p)) ** 2),
        p,
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        tol=1e-14,
    )
    found = weights("sdmgrad", rows, lam=lam, learning_rate=0.3, iterations=3000)
    np.testing.assert_allclose(found, (best.x + lam * p) / (1 + lam), atol=1e-4)


def test_moco_approaches_mgda():
    """On one batch Y becomes J, and λ goes to MGDA's weights."""
    rows = random_rows(3, 3, seed=2)
    long = weights(
        "moco", rows, steps=400, normalizer="none", beta=1.0, beta_decay=0.0, gamma=0.05, gamma_decay=0.0
    )
    np.testing.assert_allclose(long, weights("mgda", rows), atol=1e-4)


def test_modo_takes_one_projected_step():
    rows = np.array([[2.0, 0.0], [0.0, 1.0]])
    # λ − γ (G + ρ) λ = ½ − .1 (4.1, 1.1)/2 = (.295, .445); projected: both + .13
    np.testing.assert_allclose(weights("modo", rows, gamma=0.1, rho=0.1), (0.425, 0.575), atol=1e-6)


def test_graddrop_is_the_plain_sum_on_average():
    rows = random_rows(3, 4, seed=11)
    for leak in (0.0, 0.4):
        draws = np.mean([apply("graddrop", rows, seed=s, leak=leak)[0] for s in range(600)], axis=0)
        error = np.abs(draws - rows.sum(axis=0)) / np.abs(rows).sum(axis=0)
        assert error.max() < 0.08  # 4 standard errors of a draw between the two signs


def test_graddrop_keeps_one_sign_per_coordinate():
    rows = random_rows(4, 6, seed=12)
    update, _ = apply("graddrop", rows)
    positive, negative = np.maximum(rows, 0).sum(axis=0), np.minimum(rows, 0).sum(axis=0)
    assert (np.isclose(update, positive) | np.isclose(update, negative)).all()
    agreed, _ = apply("graddrop", np.abs(rows))
    np.testing.assert_allclose(agreed, np.abs(rows).sum(axis=0))


def test_db_mtl_after_many_steps_of_one_gradient_is_that_without_memory():
    rows, losses = random_rows(3, seed=13), np.array([0.3, 2.0, 11.0])
    long, _ = apply("db_mtl", rows, losses, steps=200)
    np.testing.assert_allclose(long, apply("db_mtl", rows, losses, beta=0.0)[0], rtol=1e-5)


def test_db_mtl_first_step_is_a_tenth_as_long():
    """m starts at 0 and is not corrected: (1 − β) of the length."""
    rows = random_rows(3, seed=13)
    first, _ = apply("db_mtl", rows)
    np.testing.assert_allclose(first, 0.1 * apply("db_mtl", rows, beta=0.0)[0], rtol=1e-5)


NON_CONFLICTING = [
    ("mgda", {}),
    ("upgrad", {}),
    ("dual_proj", {}),
    ("nash_mtl", {}),
    ("fairgrad", {"alpha": 2.0}),
    ("imtl_g", {}),
    ("config", {}),
    ("cagrad", {"c": 1.0}),
    ("pe_ltr", {}),
    ("pcd", {"tau": 0.0}),
]


@pytest.mark.parametrize(("name", "arguments"), NON_CONFLICTING, ids=str)
@settings(max_examples=25)
@given(size=st.integers(2, 6), seed=st.integers(0, 10_000))
def test_no_task_is_opposed(name, arguments, size, seed):
    """Ga ≥ 0, as the papers of these methods claim, for gradients in general position."""
    if name == "pe_ltr" and size > 2:
        arguments = {"exact": True}  # the two steps of the paper are not exact beyond two tasks
    rows = random_rows(size, 2 * size, seed)
    with jax.enable_x64(True):
        update, _ = apply(name, rows, **arguments)
    slopes = rows @ update / np.linalg.norm(rows, axis=1) / np.linalg.norm(update)
    assert slopes.min() > -1e-7


@pytest.mark.parametrize(("name", "arguments"), [("pcgrad", {}), ("cagrad", {"c": 0.3}), ("ew", {})], ids=str)
def test_some_methods_do_oppose_a_task(name, arguments):
    """The property above is not an empty one."""
    opposed = 0
    for seed in range(40):
        rows = random_rows(4, 5, seed, spread=1)
        opposed += (rows @ apply(name, rows, **arguments)[0]).min() < -1e-9
    assert opposed > 0


DESCENT = [n for n in NON_CONFLICTING if n[0] not in ("imtl_g", "config", "nash_mtl", "fairgrad")]


@pytest.mark.parametrize(("name", "arguments"), DESCENT, ids=str)
def test_at_a_pareto_stationary_point_nothing_moves(name, arguments):
    """Gradients with a positive combination equal to zero."""
    rows = random_rows(3, 4, seed=14)
    rows[2] = -(0.4 * rows[0] + 0.8 * rows[1])
    if name == "pe_ltr":
        arguments = {"exact": True}
    update, _ = apply(name, rows, **arguments)
    assert np.linalg.norm(update) < 1e-5 * np.linalg.norm(rows)


@pytest.mark.parametrize("name", ["nash_mtl", "fairgrad", "imtl_g", "config"])
def test_at_a_pareto_stationary_point_the_residual_tells(name):
    rows = random_rows(3, 4, seed=14)
    rows[2] = -(0.4 * rows[0] + 0.8 * rows[1])
    _, state = apply(name, rows)
    assert float(state.residual) > 1e-2
    assert np.isfinite(state.weights).all()
