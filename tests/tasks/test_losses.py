"""Task losses against hand-computed values, optax and scikit-learn; sample spaces and empty ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import log_loss

from mtl.errors import InputError
from mtl.tasks import Task, task_losses

CLICK, BUY = Task("click"), Task("buy")
DIGIT, STARS = Task("digit", "multiclass", 3), Task("stars", "regression")
MIXED = (CLICK, DIGIT, STARS, BUY)
B = 8


@pytest.fixture
def mixed():
    """Outputs `[4, B, 3]` and labels `[B, 4]` of tasks of three kinds."""
    draw = np.random.default_rng(0)
    outputs = draw.normal(size=(4, B, 3)).astype(np.float32)
    columns = [draw.permutation([0, 1] * (B // 2)), np.arange(B) % 3, draw.normal(size=B)]
    labels = np.stack([*columns, columns[0][::-1]], axis=1).astype(np.float32)
    return outputs, labels


def test_binary_by_hand():
    outputs = jnp.array([[[0.0], [np.log(3.0)]]])
    labels = jnp.array([[1.0], [0.0]])
    expected = (np.log(2.0) + np.log(4.0)) / 2  # −ln ½ and −ln(1 − ¾)
    assert float(task_losses([CLICK], outputs, labels)[0]) == pytest.approx(expected, rel=1e-6)


def test_multiclass_by_hand():
    outputs = jnp.log(jnp.array([[[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]]]))
    labels = jnp.array([[2.0], [0.0]])
    expected = -(np.log(5 / 8) + np.log(4 / 16)) / 2
    assert float(task_losses([DIGIT], outputs, labels)[0]) == pytest.approx(expected, rel=1e-6)


def test_regression_by_hand_has_no_half():
    losses = task_losses([STARS], jnp.array([[[1.0], [4.0]]]), jnp.array([[3.0], [1.0]]))
    np.testing.assert_array_equal(losses, [(4.0 + 9.0) / 2])


def test_extreme_logits_stay_finite():
    outputs = jnp.array([[[500.0], [-500.0]]])
    losses, gradient = jax.value_and_grad(lambda z: task_losses([CLICK], z, jnp.array([[0.0], [1.0]]))[0])(
        outputs
    )
    assert float(losses) == 500.0
    np.testing.assert_array_equal(gradient.ravel(), [0.5, -0.5])


def test_mixed_kinds_against_scikit_learn(mixed):
    outputs, labels = mixed
    losses = task_losses(MIXED, jnp.asarray(outputs), jnp.asarray(labels))
    z = outputs.astype(np.float64)
    softmax = np.exp(z[1]) / np.exp(z[1]).sum(axis=1, keepdims=True)
    expected = [
        log_loss(labels[:, 0], 1 / (1 + np.exp(-z[0, :, 0]))),
        log_loss(labels[:, 1], softmax, labels=[0, 1, 2]),
        np.mean((z[2, :, 0] - labels[:, 2]) ** 2),
        log_loss(labels[:, 3], 1 / (1 + np.exp(-z[3, :, 0]))),
    ]
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_a_mask_is_the_mean_over_the_rows_inside(mixed):
    outputs, labels = mixed
    mask = np.random.default_rng(1).random((B, 4)) < 0.5
    losses = task_losses(MIXED, jnp.asarray(outputs), jnp.asarray(labels), jnp.asarray(mask))
    for t, task in enumerate(MIXED):
        rows = mask[:, t]
        assert 0 < rows.sum() < B
        alone = task_losses([task], outputs[t : t + 1, rows], labels[rows, t : t + 1])
        np.testing.assert_allclose(losses[t], alone[0], rtol=1e-6)


def test_a_full_mask_equals_no_mask(mixed):
    outputs, labels = mixed
    full = jnp.ones((B, 4), bool)
    np.testing.assert_allclose(
        task_losses(MIXED, outputs, labels, full), task_losses(MIXED, outputs, labels), rtol=1e-6
    )


@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e30, -7.0])
def test_a_label_outside_the_sample_space_reaches_nothing(mixed, junk):
    outputs, labels = mixed
    mask = np.ones((B, 4), bool)
    mask[::3] = False
    spoilt = np.where(mask, labels, np.float32(junk))

    def total(z, y):
        return jnp.sum(task_losses(MIXED, z, y, jnp.asarray(mask)))

    for function in (total, jax.grad(total)):
        np.testing.assert_array_equal(
            function(jnp.asarray(outputs), jnp.asarray(spoilt)),
            function(jnp.asarray(outputs), jnp.asarray(labels)),
        )


def test_an_empty_sample_space_gives_zero_and_a_zero_gradient(mixed):
    outputs, labels = mixed
    mask = np.ones((B, 4), bool)
    mask[:, 1:3] = False
    labels = np.where(mask, labels, np.nan)
    losses = task_losses(MIXED, outputs, labels, mask)
    jacobian = jax.jacobian(lambda z: task_losses(MIXED, z, labels, mask))(jnp.asarray(outputs))
    np.testing.assert_array_equal(losses[1:3], 0.0)
    np.testing.assert_array_equal(jacobian[1:3], 0.0)
    assert np.all(losses[jnp.array([0, 3])] > 0)
    assert np.isfinite(jacobian).all()


def test_the_gradient_stays_with_its_task(mixed):
    outputs, labels = mixed
    jacobian = jax.jacobian(lambda z: task_losses(MIXED, z, labels))(jnp.asarray(outputs))
    for t, task in enumerate(MIXED):
        for other in range(4):
            touched = np.abs(jacobian[t, other]).max(axis=0) > 0
            expected = [other == t and k < task.num_outputs for k in range(3)]
            np.testing.assert_array_equal(touched, expected)


def test_bfloat16_outputs_give_float32_losses():
    outputs = jnp.ones((1, 4, 1), jnp.bfloat16)
    losses = task_losses([CLICK], outputs, jnp.ones((4, 1)))
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, optax.sigmoid_binary_cross_entropy(jnp.ones(1), jnp.ones(1)))


@pytest.mark.parametrize("outputs, labels", [((3, B, 1), (B, 2)), ((2, B, 1), (B, 3))])
def test_shapes_that_do_not_fit_are_named(outputs, labels):
    with pytest.raises(InputError, match=r"2 tasks, but outputs have shape .* expected \[T, B, K\]"):
        task_losses([CLICK, BUY], jnp.zeros(outputs), jnp.zeros(labels))
