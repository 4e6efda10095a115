"""What changes training rows only: a teacher's labels, weights by other events; and how they are checked."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl.data import Dataset, Schema, reweight, validate, watch_time, with_teacher
from mtl.errors import InputError
from mtl.metrics import log_loss
from mtl.tasks import Task, task_losses


@pytest.fixture(scope="module")
def data():
    return watch_time(tasks=("click", "play_time", "completed"), num_train=400, num_val=40, num_test=40)


def test_a_teacher_mixes_into_training_labels_only(data):
    q = np.linspace(0, 1, 400)
    found = validate(with_teacher(data, "completed", q, weight=0.25))
    before, after = data.splits["train"]["labels"], found.splits["train"]["labels"]
    np.testing.assert_allclose(after[:, 2], 0.75 * before[:, 2] + 0.25 * q, rtol=1e-6)
    np.testing.assert_array_equal(after[:, :2], before[:, :2])
    assert found.splits["val"] is data.splits["val"]
    assert [t.loss for t in found.schema.tasks] == ["", "", "soft_cross_entropy"]


def privileged(num, seed):
    """Few rows and a rare event that a column seen only afterwards nearly decides."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num, 8)).astype(np.float32)
    logit = x @ np.linspace(1, -1, 8)
    after = logit + rng.logistic(size=num)
    y = (after + 0.1 * rng.logistic(size=num) > 0).astype(np.float32)
    return x, after[:, None].astype(np.float32), y


@jax.jit
def fit(x, y):
    """Weights of a logistic model after 300 steps of Adam."""
    tx = optax.adam(0.05)
    w = jnp.zeros(x.shape[1])

    def step(carry, _):
        w, state = carry
        slope = jax.grad(
            lambda w: task_losses([Task("y", loss="soft_cross_entropy")], (x @ w)[None, :, None], y[:, None])[
                0
            ]
        )(w)
        updates, state = tx.update(slope, state)
        return (optax.apply_updates(w, updates), state), None

    return jax.lax.scan(step, (w, tx.init(w)), length=300)[0][0]


def test_a_student_of_a_teacher_with_privileged_columns_predicts_better():
    gains = []
    x_test, _, y_test = privileged(20_000, 99)
    for seed in range(10):
        x, after, y = privileged(60, seed)
        schema = Schema((), tuple("abcdefgh"), (Task("y"),))
        columns = {"ids": np.zeros((60, 0), np.int32), "numeric": x, "labels": y[:, None]}
        plain = Dataset("d", schema, dict.fromkeys(("train", "val", "test"), columns), {})
        both = np.concatenate([x, after], axis=1)
        taught = 1 / (1 + np.exp(-both @ np.asarray(fit(both, y))))
        student = with_teacher(plain, "y", taught, weight=1.0).splits["train"]["labels"][:, 0]
        losses = [log_loss(x_test @ np.asarray(fit(x, labels)), y_test) for labels in (y, student)]
        gains.append(losses[0] - losses[1])
    assert np.mean(gains) > 0


def test_weights_are_those_of_the_strongest_event(data):
    found = validate(reweight(data, "click", {"click": 2.0, "completed": 5.0}))
    weights, labels = found.splits["train"]["weights"], data.splits["train"]["labels"]
    expected = np.where(labels[:, 2] == 1, 5.0, np.where(labels[:, 0] == 1, 2.0, 1.0))
    np.testing.assert_array_equal(weights[:, 0], expected)
    np.testing.assert_array_equal(weights[:, 1:], 1.0)
    assert "weights" not in found.splits["val"]
    twice = reweight(found, "click", {"click": 3.0}).splits["train"]["weights"][:, 0]
    np.testing.assert_array_equal(twice, expected * np.where(labels[:, 0] == 1, 3.0, 1.0))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda d: with_teacher(d, "like", np.ones(400)), "unknown task 'like'"),
        (lambda d: with_teacher(d, "click", np.ones(400)), "'click' is required by completed"),
        (
            lambda d: with_teacher(d, "play_time", np.ones(400)),
            "'play_time' is regression, expected a binary",
        ),
        (
            lambda d: with_teacher(d, "completed", np.ones(3)),
            r"probabilities have shape \(3,\), expected \(400,\)",
        ),
        (lambda d: with_teacher(d, "completed", np.full(400, 1.5)), "a number outside .* not logits"),
        (
            lambda d: with_teacher(d, "completed", np.ones(400), 2.0),
            r"weight is 2.0, expected a number in \[0, 1\]",
        ),
        (lambda d: reweight(d, "click", {"buy": 2.0}), "unknown task 'buy'"),
        (lambda d: reweight(d, "click", {"click": 0.5}), "weight of 'click' is 0.5, expected a number >= 1"),
    ],
)
def test_bad_input_is_named(data, call, message):
    with pytest.raises(InputError, match=message):
        call(data)


def test_labels_and_weights_are_checked_by_what_the_loss_admits(data):
    def changed(split, key, value, **task):
        columns = {**data.splits[split], key: value(data.splits[split])}
        tasks = (data.schema.tasks[0]._replace(**task), *data.schema.tasks[1:])
        return data._replace(schema=data.schema._replace(tasks=tasks), splits={**data.splits, split: columns})

    def halved(columns):
        labels = columns["labels"].copy()
        labels[0, 0] = 0.5
        return labels

    soft = {"loss": "soft_cross_entropy"}
    validate(changed("train", "labels", halved, **soft))
    with pytest.raises(InputError, match=r"row 0, label 'click' is 0.5, expected one of 0 … 1"):
        validate(changed("train", "labels", halved))
    with pytest.raises(InputError, match=r"split 'test': row 0, label 'click' is 0.5, expected one of 0 … 1"):
        validate(changed("test", "labels", halved, **soft))
    negative = changed("train", "weights", lambda c: -np.ones_like(c["labels"]))
    with pytest.raises(InputError, match=r"row 0, weight of 'click' is -1.0, expected a number >= 0"):
        validate(negative)
