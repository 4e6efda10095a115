"""Every loss by hand in float64, its minimiser, its gradient at the extremes, and what is served."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.errors import InputError
from mtl.tasks import (
    LOSSES,
    Task,
    bpr_in_batch,
    bpr_loss,
    distillation_loss,
    in_batch_softmax_loss,
    sampled_softmax_loss,
    served,
    task_loss,
    task_losses,
    triplet_loss,
)

K = 3
ALL = [(kind, name) for kind, losses in LOSSES.items() for name in losses]
EVERY = pytest.mark.parametrize("kind, name", ALL)


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, np.float64)))


def cross_entropy(z, y):
    return -y * np.log(sigmoid(z)) - (1 - y) * np.log(sigmoid(-np.asarray(z)))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


def focal(z, y, alpha, gamma):
    p = np.where(y == 1, sigmoid(z), 1 - sigmoid(z))
    return -np.where(y == 1, alpha, 1 - alpha) * (1 - p) ** gamma * np.log(p)


Z = np.array([-2.0, -0.3, 0.0, 0.8, 3.0])
Y = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
T = np.array([0.0, 0.5, 4.0, 0.0, 30.0])
SHARES = np.array([0.0, 0.25, 0.5, 0.9, 1.0])
LOGITS = np.array([[0.0, 1.0, -1.0], [2.0, 0.0, 0.5], [-3.0, 0.2, 0.1]])
CLASSES = np.array([1.0, 2.0, 0.0])
P = softmax(LOGITS)[np.arange(3), CLASSES.astype(int)]
ROW = np.log(softmax(LOGITS))

BY_HAND = {
    ("binary", "cross_entropy"): [({}, Z, Y, cross_entropy(Z, Y))],
    ("binary", "soft_cross_entropy"): [({}, Z, SHARES, cross_entropy(Z, SHARES))],
    ("binary", "weighted"): [
        ({"positive": 3.0, "negative": 0.5}, Z, Y, np.where(Y == 1, 3.0, 0.5) * cross_entropy(Z, Y))
    ],
    ("binary", "focal"): [
        ({}, Z, Y, focal(Z, Y, 0.25, 2.0)),
        ({"alpha": 0.5, "gamma": 0.5}, Z, Y, focal(Z, Y, 0.5, 0.5)),
    ],
    ("binary", "label_smoothing"): [({"smoothing": 0.2}, Z, Y, cross_entropy(Z, 0.8 * Y + 0.1))],
    ("multiclass", "cross_entropy"): [({}, LOGITS, CLASSES, -np.log(P))],
    ("multiclass", "focal"): [({"gamma": 1.5}, LOGITS, CLASSES, -((1 - P) ** 1.5) * np.log(P))],
    ("multiclass", "label_smoothing"): [
        ({"smoothing": 0.3}, LOGITS, CLASSES, -0.7 * np.log(P) - 0.1 * ROW.sum(-1))
    ],
    ("regression", "squared"): [({}, Z, T, (Z - T) ** 2)],
    ("regression", "absolute"): [({}, Z, T, np.abs(Z - T))],
    ("regression", "huber"): [
        ({"delta": 2.0}, Z, T, np.where(np.abs(Z - T) <= 2, (Z - T) ** 2 / 2, 2 * (np.abs(Z - T) - 1)))
    ],
    ("regression", "squared_log"): [({}, Z, T, (Z - np.log(1 + T)) ** 2)],
    ("regression", "watch_time"): [({}, Z, T, cross_entropy(Z, T / (1 + T)))],
    ("regression", "weighted_logistic"): [
        ({}, Z, T, np.where(T > 0, -T * np.log(sigmoid(Z)), -np.log(sigmoid(-Z)))),
        ({"clicked": 1.0}, Z, T, -T * np.log(sigmoid(Z)) - np.log(sigmoid(-Z))),
    ],
    ("regression", "soft_cross_entropy"): [({}, Z, SHARES, cross_entropy(Z, SHARES))],
}


def task(kind, name, arguments=()):
    return Task("a", kind, K, loss=name, loss_arguments=tuple(dict(arguments).items()))


def rows(found, outputs, labels):
    """Loss of every row."""
    loss = task_loss(found)
    arguments = {k: a.default for k, a in loss.arguments.items()}
    return loss.function(jnp.asarray(outputs, jnp.float32), jnp.asarray(labels, jnp.float32), **arguments)


def columns(z):
    return z if z.ndim == 2 else z[:, None]


@EVERY
def test_by_hand(kind, name):
    for arguments, z, y, expected in BY_HAND[kind, name]:
        np.testing.assert_allclose(rows(task(kind, name, arguments), columns(z), y), expected, rtol=2e-6)


@EVERY
def test_finite_loss_and_gradient_at_the_extremes(kind, name):
    """At logits of ±60, for every label that the loss admits, and for the least arguments."""
    found = task_loss(Task("a", kind, K, loss=name))
    labels = [0.0, 1.0, 2.0] if kind == "multiclass" else [0.0, 1.0]
    if kind == "regression" and name != "soft_cross_entropy":
        labels += [1e-3, 1e6]
    z = [-60.0, 60.0] if kind != "multiclass" else [[-60.0, 60.0, 0.0], [60.0, 60.0, -60.0]]
    grid = np.array([(*np.atleast_1d(a), b) for a in z for b in labels], np.float32)
    for arguments in (
        {k: a.default for k, a in found.arguments.items()},
        {k: a.low for k, a in found.arguments.items()},
    ):

        def total(outputs, arguments=arguments):
            return found.function(outputs, grid[:, -1], **arguments).sum()

        loss, gradient = jax.value_and_grad(total)(jnp.asarray(grid[:, :-1]))
        assert np.isfinite(loss)
        assert np.isfinite(gradient).all()


@EVERY
def test_nan_outputs_show(kind, name):
    """Ownership of parameters is found by NaN; a loss that hid it would make shared parameters private."""
    size = K if kind == "multiclass" else 1
    assert np.isnan(rows(task(kind, name), np.full((2, size), np.nan), [0.0, 1.0])).all()


@pytest.mark.parametrize(
    "name, arguments, expected",
    [
        ("squared", {}, np.mean(T)),
        ("squared_log", {}, np.exp(np.mean(np.log1p(T))) - 1),
        ("watch_time", {}, np.mean(T / (1 + T)) / np.mean(1 / (1 + T))),
        ("weighted_logistic", {}, np.mean(T) / np.mean(T == 0)),
        ("weighted_logistic", {"clicked": 1.0}, np.mean(T)),
    ],
)
def test_what_a_constant_prediction_estimates(name, arguments, expected):
    """Where the gradient vanishes, the served value is the functional that the docstring names."""
    found = task("regression", name, arguments)
    inverse = {"squared": lambda s: s, "squared_log": np.log1p}.get(name, np.log)
    z = inverse(expected)
    slope = jax.grad(lambda z: rows(found, jnp.full((len(T), 1), z), T).mean())(jnp.float32(z))
    assert abs(slope) < 1e-5
    np.testing.assert_allclose(served(found, np.array([[z]])), expected, rtol=1e-12)


def test_constant_watch_time_is_served_within_a_percent():
    """A small network of z on x, trained on t = t(x) without noise: exp(z) becomes t."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(-1, 1, (256, 1)), jnp.float32)
    t = jnp.exp(1.5 * x[:, 0])
    knots = jnp.linspace(-1, 1, 8)
    features = jnp.concatenate([x, jnp.ones_like(x), jnp.maximum(x - knots, 0.0)], axis=1)
    watch = (Task("t", "regression", loss="watch_time"),)

    @jax.jit
    def fit(w):
        def loss(w):
            return task_losses(watch, (features @ w)[None, :, None], t[:, None])[0]

        def newton(w, _):
            hessian = jax.hessian(loss)(w) + 1e-9 * jnp.eye(w.size)
            return w - jnp.linalg.solve(hessian, jax.grad(loss)(w)), None

        return jax.lax.scan(newton, w, length=12)[0]

    outputs = np.asarray(features @ fit(jnp.zeros(features.shape[1])))[:, None]
    np.testing.assert_allclose(served(watch[0], outputs), t, rtol=0.01)


@pytest.mark.parametrize("convert", [np.float64, jnp.float32])
def test_served_values_by_hand(convert):
    z = np.array([[-40.0], [0.0], [2.0]])
    by_loss = {
        ("binary", ""): [1 / (1 + np.exp(40.0)), 0.5, sigmoid(2.0)],
        ("regression", ""): [-40.0, 0.0, 2.0],
        ("regression", "watch_time"): np.exp([-40.0, 0.0, 2.0]),
        ("regression", "squared_log"): np.expm1([-40.0, 0.0, 2.0]),
        ("regression", "soft_cross_entropy"): [1 / (1 + np.exp(40.0)), 0.5, sigmoid(2.0)],
    }
    given = z if convert is np.float64 else jnp.asarray(z, jnp.float32)
    for (kind, name), expected in by_loss.items():
        found = served(Task("a", kind, loss=name), given)
        assert type(found) is type(given)
        assert found.dtype == given.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5 if convert is jnp.float32 else 1e-12)
    classes = served(Task("a", "multiclass", 3), LOGITS)
    np.testing.assert_array_equal(classes, [1, 0, 1])


def test_tasks_of_different_losses_are_each_as_alone():
    tasks = [task("regression", name) for name in ("squared", "watch_time", "squared", "huber")]
    tasks.append(task("regression", "huber", {"delta": 0.5}))
    draw = np.random.default_rng(1)
    outputs = jnp.asarray(draw.normal(size=(5, 6, 1)), jnp.float32)
    labels = jnp.asarray(draw.exponential(size=(6, 5)), jnp.float32)
    together = task_losses(tasks, outputs, labels)
    alone = [task_losses([t], outputs[i : i + 1], labels[:, i : i + 1])[0] for i, t in enumerate(tasks)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert together[3] != together[4]


def test_weights_are_a_weighted_mean_and_weight_zero_is_no_row():
    tasks = [Task("a", "regression"), Task("b", "regression")]
    outputs = jnp.zeros((2, 3, 1))
    labels = jnp.array([[1.0, jnp.nan], [2.0, 3.0], [3.0, 4.0]])
    mask = jnp.array([[True, False], [True, True], [True, True]])
    weights = jnp.array([[1.0, 9.0], [0.0, 0.0], [3.0, 0.0]])
    losses, gradient = jax.value_and_grad(
        lambda z: task_losses(tasks, z, labels, mask, weights).sum(), has_aux=False
    )(outputs)
    assert float(losses) == (1 * 1 + 3 * 9) / 4  # of the first task; the second has no weight at all
    np.testing.assert_allclose(gradient[0, :, 0], [-2 * 1 / 4, 0.0, -2 * 3 * 3 / 4])
    np.testing.assert_array_equal(gradient[1], 0.0)
    full = task_losses(tasks[:1], outputs[:1], labels[:, :1], None, jnp.full((3, 1), 5.0))
    np.testing.assert_allclose(full, task_losses(tasks[:1], outputs[:1], labels[:, :1]), rtol=1e-6)


def test_unknown_losses_name_those_of_the_kind():
    with pytest.raises(InputError, match="unknown loss of binary task 'a': 'huber'; expected one of: cross_"):
        task_loss(Task("a", loss="huber"))


def test_bpr_by_hand_and_its_pairs():
    assert float(bpr_loss(jnp.array(1.0), jnp.array(-1.0))) == pytest.approx(-np.log(sigmoid(2.0)), rel=1e-6)
    scores, labels = jnp.array([0.5, 0.0, 1.0, -1.0]), jnp.array([1.0, 0.0, 0.0, 1.0])
    groups = jnp.array([7, 7, 8, 8])
    expected = [-np.log(sigmoid(0.5)), -np.log(sigmoid(-2.0))]
    assert float(bpr_in_batch(scores, labels, groups)) == pytest.approx(np.mean(expected), rel=1e-6)
    everything = [-np.log(sigmoid(a - b)) for a in (0.5, -1.0) for b in (0.0, 1.0)]
    assert float(bpr_in_batch(scores, labels)) == pytest.approx(np.mean(everything), rel=1e-6)
    slope = jax.grad(bpr_in_batch)(scores, labels, groups)
    assert (np.sign(slope) == [-1, 1, 1, -1]).all()
    value, slope = jax.value_and_grad(bpr_in_batch)(scores, jnp.ones(4), groups)
    assert value == 0
    assert not slope.any()


def test_triplets_by_hand():
    a, p, n = jnp.zeros(2), jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0])
    assert float(triplet_loss(a, p, n, margin=0.5)) == 0.0
    assert float(triplet_loss(a, n, p, margin=0.5)) == 4 - 1 + 0.5


def test_sampled_softmax_by_hand_and_its_correction():
    positive, negative = jnp.array([1.0]), jnp.array([[0.0, 2.0]])
    plain = -np.log(softmax(np.array([1.0, 0.0, 2.0]))[0])
    assert float(sampled_softmax_loss(positive, negative)[0]) == pytest.approx(plain, rel=1e-6)
    q = np.log([0.5, 0.1, 0.4])
    corrected = -np.log(softmax(np.array([1.0, 0.0, 2.0]) - q)[0])
    found = sampled_softmax_loss(positive, negative, jnp.asarray(q[:1]), jnp.asarray(q[1:]))
    assert float(found[0]) == pytest.approx(corrected, rel=1e-6)


def test_in_batch_softmax_leaves_out_the_rows_own_item():
    scores = jnp.array([[1.0, 0.0, 2.0], [0.5, 1.5, 0.0], [0.0, 0.3, 1.0]])
    log_q = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    items = jnp.array([4, 5, 4])
    s = np.asarray(scores - log_q, np.float64)
    keep = [[0, 1], [0, 1, 2], [1, 2]]
    expected = [np.log(np.exp(s[i, k]).sum()) - s[i, i] for i, k in enumerate(keep)]
    np.testing.assert_allclose(in_batch_softmax_loss(scores, log_q, items), expected, rtol=1e-5)
    slope = jax.grad(lambda s: in_batch_softmax_loss(s, log_q, items).sum())(scores)
    assert np.isfinite(slope).all()
    assert slope[0, 2] == 0 == slope[2, 0]


def test_distillation_mixes_two_cross_entropies_and_leaves_the_teacher_alone():
    z, teacher = Z[:, None], np.array([1.0, -1.0, 0.3, 2.0, -4.0])
    expected = 0.7 * cross_entropy(Z, Y) + 0.3 * cross_entropy(Z, sigmoid(teacher))
    found = distillation_loss(jnp.asarray(z), jnp.asarray(Y), jnp.asarray(teacher), weight=0.3)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    slopes = jax.grad(lambda z, q: distillation_loss(z, jnp.asarray(Y), q, weight=0.3).sum(), (0, 1))(
        jnp.asarray(z), jnp.asarray(teacher)
    )
    assert slopes[0].all()
    assert not slopes[1].any()
