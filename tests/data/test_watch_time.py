"""The recipe of clicks and play times: its labels have the expectations that it states."""

import numpy as np
import pytest

from mtl.data import load, watch_time
from mtl.errors import InputError

EVERY = ("click", "watch_time", "play_time", "play_ratio", "completed")


def deviations(columns):
    """Per task the mean of label minus truth, in standard errors; of the last three after a click."""
    found = []
    for t in range(columns["labels"].shape[1]):
        rows = columns["labels"][:, 0] == 1 if t > 1 else columns["mask"][:, t]
        gap = columns["labels"][rows, t].astype(np.float64) - columns["truth"][rows, t]
        found.append(gap.mean() / max(gap.std() / np.sqrt(rows.sum()), 1e-9))
    return np.array(found)


@pytest.mark.parametrize("family", ["lognormal", "gamma"])
def test_labels_have_the_stated_expectations(family):
    data = load("watch_time", tasks=EVERY, family=family, num_val=60_000, num_test=60_000, seed=3)
    assert (np.abs(deviations(data.splits["val"])) < 4).all()
    # Also within the rows that are expected to be played longest.
    test = data.splits["test"]
    top = test["truth"][:, 2] > np.quantile(test["truth"][:, 2], 0.8)
    assert (np.abs(deviations({k: v[top] for k, v in test.items()})) < 4).all()
    assert data.splits["train"]["labels"][:, 0].mean() == pytest.approx(0.3, abs=0.01)


def test_without_spread_play_times_are_their_expectation():
    test = load("watch_time", tasks=EVERY, spread=0.0, num_test=500).splits["test"]
    rows = test["mask"][:, 2]
    for task in (2, 3, 4):
        np.testing.assert_allclose(test["labels"][rows, task], test["truth"][rows, task], rtol=1e-6)
    assert not test["labels"][~rows][:, [1, 4]].any()


def test_the_share_that_is_played_falls_with_length():
    test = load("watch_time", tasks=EVERY, num_test=2000).splits["test"]
    assert np.corrcoef(test["numeric"][:, -1], test["truth"][:, 3])[0, 1] < -0.3


def test_arguments_change_only_what_they_are_about():
    sizes = {"num_train": 300, "num_val": 50, "num_test": 50}
    plain, spread = load("watch_time", **sizes), load("watch_time", **sizes, spread=0.1)
    np.testing.assert_array_equal(plain.splits["val"]["truth"], spread.splits["val"]["truth"])
    np.testing.assert_array_equal(
        plain.splits["train"]["labels"][:, 0], spread.splits["train"]["labels"][:, 0]
    )
    assert (plain.splits["train"]["labels"][:, 2] != spread.splits["train"]["labels"][:, 2]).any()
    same, other = (load("watch_time", **sizes, seed=s, function_seed=9) for s in (1, 2))
    assert (same.splits["train"]["numeric"] != other.splits["train"]["numeric"]).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"tasks": ("watch_time",)}, "tasks is .*, expected a tuple of names with 'click' among them"),
        ({"tasks": ("click", "like")}, "unknown task 'like'"),
        ({"click_rate": 0.0}, r"click_rate is 0, expected a number in \(0, 1\]"),
        ({"family": "normal"}, "family is 'normal', expected one of: lognormal, gamma"),
        ({"spread": -1.0}, "spread is -1.0, expected a number >= 0"),
        ({"click_rate": 1e-6, "num_train": 50}, "train has no click, so 'play_time' has no row"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        watch_time(**arguments)
