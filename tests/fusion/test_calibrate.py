"""Down-sampling of negatives and back, Platt's and isotonic maps, and the adjustment for length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logit

from mtl.data import Dataset, Schema, downsample_negatives, validate, watch_time
from mtl.errors import InputError
from mtl.fusion import (
    adjust_for_length,
    fit_isotonic,
    fit_length_curve,
    fit_platt,
    undo_downsampling,
)
from mtl.metrics import calibration_ratio, log_loss
from mtl.tasks import Task, task_losses


def test_a_rate_of_a_thousandth_shows_as_nine_percent_and_calibrates_back():
    p = 0.001
    shown = p / (p + 0.01 * (1 - p))
    assert 0.09 < shown < 0.092
    back = expit(undo_downsampling(logit(shown), 0.01))
    assert back == pytest.approx(p, rel=1e-12)
    assert back == pytest.approx(0.01 * shown / (1 - shown + 0.01 * shown), rel=1e-12)


def logistic_rows(num, seed):
    """Rare clicks (about 1 %) that a logistic model of two inputs describes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, 2)).astype(np.float32)
    click = rng.random(num) < expit(-5.2 + x @ [1.0, -0.5])
    return {"ids": np.zeros((num, 0), np.int32), "numeric": x, "labels": click[:, None].astype(np.float32)}


def test_predicted_over_actual_is_one_after_one_to_a_hundred():
    schema = Schema((), ("a", "b"), (Task("click"),))
    splits = {
        split: logistic_rows(num, seed)
        for seed, (split, num) in enumerate((("train", 4_000_000), ("val", 10), ("test", 4_000_000)))
    }
    found = downsample_negatives(validate(Dataset("d", schema, splits, {})), "click", 0.01, seed=5)
    rows = {name: jnp.asarray(column) for name, column in found.splits["train"].items()}

    @jax.jit
    def fit(w):
        def loss(w):
            z = rows["numeric"] @ w[:2] + w[2]
            return task_losses(schema.tasks, z[None, :, None], rows["labels"])[0]

        def newton(w, _):
            return w - jnp.linalg.solve(jax.hessian(loss)(w), jax.grad(loss)(w)), None

        return jax.lax.scan(newton, w, length=12)[0]

    w = np.asarray(fit(jnp.zeros(3)), np.float64)
    test = splits["test"]
    shown = test["numeric"] @ w[:2] + w[2]
    assert calibration_ratio(shown, test["labels"][:, 0]) > 20
    assert calibration_ratio(undo_downsampling(shown, 0.01), test["labels"][:, 0]) == pytest.approx(
        1, abs=0.02
    )


def test_downsampling_drops_negatives_of_the_training_split_only():
    data = watch_time(tasks=("click", "play_time", "completed"), num_train=4000)
    found = downsample_negatives(data, "click", 0.25, seed=1)
    train, click = data.splits["train"], data.splits["train"]["labels"][:, 0]
    kept = found.splits["train"]["labels"][:, 0]
    assert (kept == 1).sum() == (click == 1).sum()
    negatives = (click == 0).sum()
    assert abs((kept == 0).sum() - 0.25 * negatives) < 4 * np.sqrt(negatives * 0.25 * 0.75)
    assert found.splits["val"] is data.splits["val"]
    assert found.provenance["downsampled"]["rows"] == len(kept)
    validate(found)
    again = downsample_negatives(data, "click", 0.25, seed=1)
    np.testing.assert_array_equal(found.splits["train"]["numeric"], again.splits["train"]["numeric"])
    other = downsample_negatives(data, "click", 0.25, seed=2)
    assert found.splits["train"]["numeric"].shape != other.splits["train"]["numeric"].shape
    # Rows outside a task's sample space are no negatives of it.
    narrow = {**train, "mask": train["mask"] & (click == 1)[:, None]}
    inside = data._replace(splits={**data.splits, "train": narrow})
    done = downsample_negatives(inside, "completed", 0.5).splits["train"]["labels"]
    assert (done[:, 0] == 0).sum() == negatives
    assert (done[:, 0] == 1).sum() < (click == 1).sum()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("like", 0.5), "unknown task 'like'"),
        (("watch_time", 0.5), "task 'watch_time' is regression, expected a binary one"),
        (("click", 0.0), r"keep is 0, expected a number in \(0, 1\]"),
        (("click", 1.5), r"keep is 1.5, expected a number in \[0, 1\]"),
        (("click", 1e-9), "none of the .* negative rows of 'click' is left"),
    ],
)
def test_bad_downsampling_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        downsample_negatives(watch_time(num_train=200), *arguments)


def test_platt_undoes_a_planted_slope_and_offset():
    rng = np.random.default_rng(0)
    z = rng.normal(size=20_000)
    y = (rng.random(z.size) < expit(z)).astype(float)
    found = fit_platt(3 * z - 2, y)
    assert found.slope == pytest.approx(1 / 3, abs=0.02)
    assert found.intercept == pytest.approx(2 / 3, abs=0.04)
    assert calibration_ratio(found(3 * z - 2), y) == pytest.approx(1, abs=1e-4)
    assert log_loss(found(3 * z - 2), y) < log_loss(3 * z - 2, y)


def test_isotonic_by_hand():
    found = fit_isotonic([0.0, 1.0, 2.0, 3.0], [0, 1, 0, 1])
    np.testing.assert_allclose(found([-5.0, 0.0, 1.0, 1.5, 2.0, 3.0, 9.0]), [0, 0, 0.5, 0.5, 0.5, 1, 1])


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
def test_bad_calibration_rows_are_named(fit):
    with pytest.raises(InputError, match="labels of 0 and 1 with both of them present"):
        fit([0.1, 0.2], [1, 1])
    with pytest.raises(InputError, match=r"logits have shape \(2,\) and labels \(1,\)"):
        fit([0.1, 0.2], [1])
    with pytest.raises(InputError, match="keep is 0"):
        undo_downsampling([0.1], 0)


def test_a_length_curve_by_hand():
    curve = fit_length_curve(
        [1, 1, 2, 4, 4, 4], [0.9, 0.7, 0.5, 0.1, 0.3, 0.8], buckets=3, statistic="median"
    )
    np.testing.assert_allclose(curve([0.5, 1.0, 9.0]), [0.8, 0.8, 0.3])
    np.testing.assert_allclose(adjust_for_length([0.4, 0.6], [1.0, 4.0], curve), [0.5, 2.0])


def test_adjusted_completion_no_longer_falls_with_length():
    data = watch_time(tasks=("click", "play_ratio"), num_test=20_000, spread=0.5)
    test = data.splits["test"]
    rows = test["mask"][:, 1]
    length = np.exp(0.7 * test["numeric"][rows, -1])
    ratio, expected = test["labels"][rows, 1], test["truth"][rows, 1]
    curve = fit_length_curve(length, ratio, buckets=20)
    assert curve(0.4) > 1.2 * curve(2.5)
    adjusted = adjust_for_length(expected, length, curve)
    thirds = np.digitize(length, np.quantile(length, [1 / 3, 2 / 3]))
    plain = [expected[thirds == i].mean() for i in range(3)]
    fair = [adjusted[thirds == i].mean() for i in range(3)]
    assert plain[0] > 1.3 * plain[2]
    np.testing.assert_allclose(fair, 1.0, atol=0.02)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([1.0], [0.5, 0.2]), r"lengths have shape \(1,\) and ratios \(2,\)"),
        (([0.0], [0.5]), "expected finite lengths > 0 and ratios >= 0"),
        (([1.0], [0.0]), "the mean ratio of a bucket is 0"),
    ],
)
def test_bad_lengths_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        fit_length_curve(*arguments)
    with pytest.raises(InputError, match="buckets is 0"):
        fit_length_curve([1.0], [1.0], buckets=0)
    with pytest.raises(InputError, match="statistic is 'mode'"):
        fit_length_curve([1.0], [1.0], statistic="mode")
