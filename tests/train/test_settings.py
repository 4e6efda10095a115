"""The train section: values that are refused, and the steps that follow from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.errors import InputError
from mtl.tasks import Task
from mtl.train import Budget, TrainSettings, budget, train_settings


@pytest.mark.parametrize(
    "settings, num_rows, expected",
    [
        # 50 rows in batches of 16: three full batches an epoch, two rows are dropped
        ({"batch_size": 16, "epochs": 2.0}, 50, Budget(6, 3, 3, 3)),
        ({"batch_size": 16, "epochs": 0.5}, 64, Budget(2, 4, 2, 2)),
        ({"batch_size": 16, "epochs": 0.01}, 64, Budget(1, 4, 1, 1)),
        ({"batch_size": 64, "epochs": 3.0}, 64, Budget(3, 1, 1, 1)),
        ({"batch_size": 16, "steps": 10, "eval_every": 4}, 50, Budget(12, 3, 4, 4)),
        ({"batch_size": 16, "steps": 10, "eval_every": 4, "steps_per_call": 3}, 50, Budget(10, 3, 4, 2)),
        ({"batch_size": 16, "steps": 10, "eval_every": 100}, 50, Budget(10, 3, 10, 10)),
        ({"batch_size": 16, "steps": 14, "eval_every": 7, "steps_per_call": 6}, 50, Budget(14, 3, 7, 1)),
        ({"batch_size": 10, "steps": 5, "epochs": 99.0}, 1000, Budget(5, 100, 5, 5)),
        # 97 steps an epoch, a prime: three calls of 32 and a look a step before the end
        ({"batch_size": 1, "epochs": 1.0, "steps_per_call": 40}, 97, Budget(96, 97, 96, 32)),
        ({"batch_size": 1, "steps": 96, "steps_per_call": 40}, 97, Budget(96, 97, 96, 32)),
        ({"batch_size": 1, "steps": 97, "eval_every": 97, "steps_per_call": 40}, 97, Budget(97, 97, 97, 1)),
    ],
)
def test_budgets_by_hand(settings, num_rows, expected):
    assert budget(TrainSettings(**settings), num_rows) == expected


@given(
    rows=st.integers(1, 500),
    batch_size=st.integers(1, 500),
    steps=st.integers(0, 300),
    epochs=st.floats(0.01, 5),
    eval_every=st.integers(0, 60),
    steps_per_call=st.integers(1, 60),
)
def test_calls_and_looks_coincide(rows, batch_size, steps, epochs, eval_every, steps_per_call):
    settings = TrainSettings(
        batch_size=min(batch_size, rows),
        steps=steps,
        epochs=epochs,
        eval_every=eval_every,
        steps_per_call=steps_per_call,
    )
    found = budget(settings, rows)
    asked = steps or max(1, round(epochs * (rows // settings.batch_size)))
    if steps or eval_every:
        assert asked <= found.steps < asked + found.steps_per_call
    else:
        assert abs(found.steps - asked) < found.steps_per_call
    assert found.steps % found.steps_per_call == 0
    assert found.eval_every % found.steps_per_call == 0
    assert 1 <= found.steps_per_call <= steps_per_call
    assert found.steps_per_epoch * settings.batch_size <= rows


@pytest.mark.parametrize(
    "settings, num_rows, expected",
    [
        # an update reads 3 × 16 of 100 rows: two updates, six steps an epoch
        ({"batch_size": 16, "epochs": 2.0}, 100, Budget(12, 6, 6, 6, batches=3)),
        # 10 steps are 4 updates of 3; a look every 4 steps is one every 2 updates
        ({"batch_size": 16, "steps": 10, "eval_every": 4}, 100, Budget(12, 6, 6, 6, batches=3)),
        ({"batch_size": 16, "steps": 9, "steps_per_call": 2}, 100, Budget(9, 6, 6, 3, batches=3)),
    ],
)
def test_a_weighting_of_several_batches_gets_no_more_examples(settings, num_rows, expected):
    assert budget(TrainSettings(**settings), num_rows, batches=3) == expected


def test_batches_of_an_update_above_the_data_are_refused():
    with pytest.raises(InputError, match="the weighting reads 3 batches per update, but the training split"):
        budget(TrainSettings(batch_size=20), 50, batches=3)


def test_a_batch_above_the_data_is_refused():
    with pytest.raises(InputError, match="batch_size is 51, but the training split has only 50 rows"):
        budget(TrainSettings(batch_size=51), 50)


@pytest.mark.parametrize(
    "config, message",
    [
        ({"lr": 1.0}, "unknown key in config.train: 'lr'"),
        ({"steps": -1}, "train.steps is -1, expected at least 0"),
        ({"patience": -1}, "train.patience is -1"),
        ({"eval_batch_size": 0}, "train.eval_batch_size is 0, expected at least 1"),
        ({"clip_norm": float("nan")}, "train.clip_norm is nan"),
        ({"epochs": 0.0}, "train.steps and train.epochs are both 0"),
        ({"optimizer": "sdg"}, r"unknown train.optimizer 'sdg' \(did you mean 'sgd'\?\)"),
        ({"weight_decay": 0.1}, "only train.optimizer='adamw' uses"),
        ({"select": "b"}, "unknown train.select 'b'"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(InputError, match=message):
        train_settings(config, [Task("a")])


def test_right_settings_pass():
    config = {"optimizer": "adamw", "weight_decay": 0.1, "select": "a", "steps": 3}
    assert train_settings(config, [Task("a")]) == TrainSettings(
        optimizer="adamw", weight_decay=0.1, select="a", steps=3
    )
