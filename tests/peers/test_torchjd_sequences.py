"""Methods with a memory, with random choices, or on losses alone, against TorchJD step by step.

    pip install -e .[peers] && pytest tests/peers

Skipped without PyTorch and TorchJD. Random methods get the same draws on both sides: ours are fed to TorchJD
through `torch.randperm` and `torch.rand`. Known differences, all of definition and none of accuracy:

    excess_mtl   TorchJD's default lets the first step's raw, scale-dependent excess move the weights; with
                 `n_warmup_steps=1` it agrees with ours. Its weights sum to 1, ours to T.
    uwl          TorchJD has the regression form ½e^(−s)L + ½s for every task; ours follows `kinds`.
    stch         TorchJD has the generic form only, ours also the recipe with nadir.
    modo         γ is .1 by default there, 1e-3 (LibMTL's) here.
    pcd          a zero gradient enters the running mean there, ours skips it; 1e-8 is added to the mean.
    cagrad       TorchJD does not rescale; ours divides by 1 + c² unless told otherwise.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import weightings
from mtl.weightings.contract import split_key
from mtl.weightings.pcgrad import random_orders

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e .[peers]")
pytest.importorskip("torchjd", reason="TorchJD is not installed: pip install -e .[peers]")
from torchjd import aggregation, scalarization  # noqa: E402

pytestmark = pytest.mark.usefixtures("x64")

TASKS, COLUMNS, STEPS = 4, 12, 5


def make_jacobians(count: int) -> np.ndarray:
    """Conflicting Jacobians `[count, T, n]` that drift."""
    rng = np.random.default_rng(1)
    common = np.outer(rng.normal(size=TASKS), rng.normal(size=COLUMNS))
    return rng.normal(size=(count, TASKS, COLUMNS)) + 0.5 * common


def make_losses(count: int) -> np.ndarray:
    """Positive losses `[count, T]` that fall at different rates."""
    rng = np.random.default_rng(2)
    rates = np.array([0.9, 0.8, 0.99, 0.6])
    return rates ** np.arange(count)[:, None] * rng.uniform(0.5, 2.0, size=(count, TASKS))


def make(spec: dict[str, Any], **more: Any) -> Any:
    return weightings.build(spec, kinds=["regression"] * TASKS, **more)


def draws(state: Any) -> np.ndarray:
    """The orders in which our next update lets every task meet the others `[T, T]`."""
    return np.asarray(random_orders(split_key(state.key)[0], TASKS))


def test_pcgrad_with_the_same_orders(monkeypatch):
    tx = make({"name": "pcgrad"})
    state = tx.init(jnp.zeros(COLUMNS))
    for j in make_jacobians(STEPS):
        orders = iter(draws(state))
        monkeypatch.setattr(torch, "randperm", lambda n, orders=orders: torch.tensor(next(orders)))
        expected = aggregation.PCGrad()(torch.tensor(j)).numpy()
        update, state = tx.update(jnp.asarray(j), state)
        np.testing.assert_allclose(update, expected, rtol=1e-9, atol=1e-12)


def test_gradvac_with_the_same_orders(monkeypatch):
    tx = make({"name": "gradvac"})
    state, peer = tx.init(jnp.zeros(COLUMNS)), aggregation.GradVac(eps=0.0)
    for j in make_jacobians(STEPS):
        # TorchJD permutes the indices of the other tasks; ours skips the task itself.
        others = [[i for i in range(TASKS) if i != t] for t in range(TASKS)]
        orders = iter([[others[t].index(i) for i in row if i != t] for t, row in enumerate(draws(state))])
        monkeypatch.setattr(torch, "randperm", lambda n, orders=orders: torch.tensor(next(orders)))
        expected = peer(torch.tensor(j)).numpy()
        update, state = tx.update(jnp.asarray(j), state)
        np.testing.assert_allclose(update, expected, rtol=1e-5, atol=1e-6)  # our φ̂ is float32


@pytest.mark.parametrize("tau", [0.02, [0.1, 0.5, 0.9]], ids=str)
def test_pcd_with_running_means(tau):
    tx = make({"name": "pcd", "tau": tau})
    shares = torch.tensor(tau, dtype=torch.float64) if isinstance(tau, list) else tau
    state, peer = tx.init(jnp.zeros(COLUMNS)), aggregation.PCD(tau=shares, eps=0.0)
    for j in make_jacobians(4 * STEPS):
        expected = peer(torch.tensor(j)).numpy()
        update, state = tx.update(jnp.asarray(j), state)
        np.testing.assert_allclose(update, expected, rtol=1e-5, atol=1e-6)  # our rms is float32
    assert np.asarray(state.weights)[1:].any()


def test_pcd_of_torchjd_forgets_while_a_task_has_no_rows():
    """An empty batch counts as a zero gradient there, so the task is owed more for long after."""
    (rows,) = make_jacobians(1)
    empty = rows * np.array([[1.0], [0.0], [1.0], [1.0]])
    tx, peer = make({"name": "pcd", "beta": 0.5}), aggregation.PCD(beta=0.5, eps=0.0)
    state = tx.init(jnp.zeros(COLUMNS))
    for j in (rows, empty, rows):
        _, state = tx.update(jnp.asarray(j), state)
        peer(torch.tensor(j))
    np.testing.assert_allclose(state.rms, np.linalg.norm(rows, axis=1), rtol=1e-6)
    theirs = peer.gramian_weighting._sq_norm_ema.numpy() / (1 - 0.5**3)
    np.testing.assert_allclose(theirs[1] / np.sum(rows[1] ** 2), 5 / 7)


def test_graddrop_with_the_same_draws(monkeypatch):
    tx = make({"name": "graddrop", "leak": [0.0, 0.2, 0.5, 1.0]})
    state = tx.init(jnp.zeros(COLUMNS))
    peer = aggregation.GradDrop(leak=torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64))
    for j in make_jacobians(STEPS):
        (key,) = jax.random.split(split_key(state.key)[0], 1)
        uniform = torch.tensor(np.array(jax.random.uniform(key, (COLUMNS,), jnp.float32), np.float64))
        monkeypatch.setattr(torch, "rand", lambda *_, uniform=uniform, **__: uniform)
        expected = peer(torch.tensor(j)).numpy()
        update, state = tx.update(jnp.asarray(j), state)
        np.testing.assert_allclose(update, expected, rtol=1e-9, atol=1e-12)


def test_random_weights_have_the_same_distribution():
    tx, count = make({"name": "rlw"}), 4000
    zeros = jnp.zeros((TASKS, 1))

    def draw(state, _):
        state = tx.update(zeros, state, losses=jnp.ones(TASKS))[1]
        return state, state.weights

    ours = np.asarray(jax.lax.scan(draw, tx.init(zeros[0]), None, count)[1])
    torch.manual_seed(0)
    peer = aggregation.Random().weighting
    theirs = np.stack([peer(torch.zeros(TASKS, 1)).numpy() for _ in range(count)])
    np.testing.assert_allclose(ours.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.015)
    np.testing.assert_allclose(ours.std(0), theirs.std(0), rtol=0.06)
    levels = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(np.quantile(ours, levels), np.quantile(theirs, levels), atol=0.015)


@pytest.mark.parametrize(
    "spec, peer",
    [
        ({"name": "modo", "gamma": 0.1}, lambda: aggregation.MoDoWeighting(gamma=0.1, rho=0.1)),
        ({"name": "sdmgrad"}, aggregation.SDMGradWeighting),
    ],
    ids=["modo", "sdmgrad"],
)
def test_methods_with_two_further_batches(spec, peer):
    tx, weighting = make(spec), peer()
    state = tx.init(jnp.zeros(COLUMNS))
    for first, second, third in make_jacobians(3 * STEPS).reshape(STEPS, 3, TASKS, COLUMNS):
        weights = weighting(torch.tensor(first @ second.T)).numpy()
        batches = (jnp.asarray(first), jnp.asarray(second))
        update, state = tx.update(jnp.asarray(third), state, jacobians=batches)
        np.testing.assert_allclose(state.weights, weights, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(update, weights @ third, rtol=1e-5, atol=1e-5)


def test_excess_mtl_after_one_step_of_warm_up():
    tx, peer = (
        make({"name": "excess_mtl", "step_size": 1.0}),
        aggregation.ExcessMTLWeighting(n_warmup_steps=1),
    )
    state = tx.init(jnp.zeros(COLUMNS))
    for j in make_jacobians(STEPS):
        expected = TASKS * peer(torch.tensor(j)).numpy()
        _, state = tx.update(jnp.asarray(j), state)
        np.testing.assert_allclose(state.weights, expected, rtol=1e-5)


def test_excess_mtl_of_torchjd_depends_on_the_unit_of_the_losses_at_defaults():
    jacobians = make_jacobians(2)
    tx = make({"name": "excess_mtl", "step_size": 1.0})

    def last(scale):
        peer, state = aggregation.ExcessMTLWeighting(), tx.init(jnp.zeros(COLUMNS))
        for j in scale * jacobians:
            theirs = peer(torch.tensor(j)).numpy()
            state = tx.update(jnp.asarray(j), state)[1]
        return np.asarray(state.weights), TASKS * theirs

    (ours, theirs), (ours_scaled, theirs_scaled) = last(1.0), last(10.0)
    np.testing.assert_allclose(ours, ours_scaled, rtol=1e-5)
    assert np.abs(theirs - theirs_scaled).max() > 0.1


def test_smoothed_weights():
    tx = make({"name": "dual_proj", "smooth": 0.9})
    peer = aggregation.CRMOGMWeighting(aggregation.DualProjWeighting(), alpha=0.9)
    state = tx.init(jnp.zeros(COLUMNS))
    for j in make_jacobians(STEPS):
        expected = peer(torch.tensor(j @ j.T)).numpy()
        _, state = tx.update(jnp.asarray(j), state)
        np.testing.assert_allclose(state.weights, expected, rtol=2e-3)  # its ridge of 1e-4


# --- Weights from the losses: TorchJD's are the derivatives of its scalarised loss.


def their_weights(scalarizer: Any, losses: np.ndarray) -> tuple[np.ndarray, Any]:
    values = torch.tensor(losses, dtype=torch.float32, requires_grad=True)
    total = scalarizer(values)
    total.backward()
    return values.grad.numpy(), total


def our_weights(tx: Any, state: Any, losses: np.ndarray) -> tuple[np.ndarray, Any]:
    zeros = jnp.zeros((TASKS, 1), jnp.float32)
    state = tx.update(zeros, state, losses=jnp.asarray(losses, jnp.float32))[1]
    return np.asarray(state.weights), state


@pytest.mark.parametrize(
    "spec, scalarizer",
    [
        ({"name": "gls"}, scalarization.GeometricMean),
        (
            {"name": "stch", "form": "generic", "mu": 0.3, "preference": [0.1, 0.2, 0.3, 0.4], "ideal": 0.1},
            lambda: scalarization.STCH(0.3, torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.full((TASKS,), 0.1)),
        ),
    ],
    ids=["gls", "stch"],
)
def test_losses_without_memory(spec, scalarizer):
    tx, peer = make(spec), scalarizer()
    state = tx.init(jnp.zeros(1))
    for losses in make_losses(STEPS):
        expected, _ = their_weights(peer, losses)
        found, state = our_weights(tx, state, losses)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "name, scalarizer", [("uwl", scalarization.UW), ("imtl_l", scalarization.IMTLL)], ids=["uwl", "imtl_l"]
)
def test_learned_weights(name, scalarizer):
    tx, peer = make({"name": name, "learning_rate": 0.1}), scalarizer(TASKS)
    optimizer = torch.optim.Adam(peer.parameters(), 0.1)
    state = tx.init(jnp.zeros(1))
    for losses in make_losses(3 * STEPS):
        optimizer.zero_grad()
        expected, _ = their_weights(peer, losses)
        optimizer.step()
        found, state = our_weights(tx, state, losses)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_dwa_over_epochs():
    steps_per_epoch, peer = 3, scalarization.DWA()
    tx = make({"name": "dwa"}, steps_per_epoch=steps_per_epoch)
    state = tx.init(jnp.zeros(1))
    for step, losses in enumerate(make_losses(4 * steps_per_epoch)):
        if step and step % steps_per_epoch == 0:
            peer.step()
        expected, _ = their_weights(peer, losses)
        found, state = our_weights(tx, state, losses)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.ptp(found) > 0.01


def test_famo_with_the_losses_after_the_step():
    tx, peer = make({"name": "famo"}), scalarization.FAMO(TASKS)
    state = tx.init(jnp.zeros(1))
    for losses in make_losses(3 * STEPS):
        after = losses * np.array([0.99, 0.9, 1.01, 0.7])
        expected, _ = their_weights(peer, losses)
        peer.update(torch.tensor(after, dtype=torch.float32))
        found, state = our_weights(tx, state, losses)
        state = weightings.observe(state, jnp.asarray(after, jnp.float32))
        np.testing.assert_allclose(found, expected, rtol=1e-4)
