"""The loop of a group: stacking, selection, early stopping, checkpoints, diverging runs."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from mtl import weightings
from mtl.data import mmoe_synthetic
from mtl.models import build_model
from mtl.train import (
    Stack,
    Stopped,
    TrainSettings,
    budget,
    chain,
    group_data,
    layout_for,
    model_program,
    train_group,
    train_program,
)
from mtl.train.evaluate import evaluate
from mtl.train.layout import put_by_run
from mtl.train.program import join

SEEDS = (0, 1, 2)
SETTINGS = TrainSettings(batch_size=8, learning_rate=0.05, steps=48, eval_every=4, steps_per_call=4)
SPEC = {"name": "mmoe", "num_experts": 2, "expert_features": (6,), "tower_features": (4,)}


@functools.cache
def dataset(seed=0):
    # Few rows and much noise: validation gets worse again, so that the best step is not the last.
    return mmoe_synthetic(dim=4, num_train=24, num_val=20, num_test=20, noise_std=2.0, seed=seed)


TASKS = dataset().schema.tasks


class Setup(NamedTuple):
    """What `train_group` needs of one method."""

    layout: Any
    model: Any
    train: Any
    budget: Any


@functools.cache
def functions(num_runs, devices, dtype):
    layout = layout_for(num_runs, jax.devices()[:devices])
    model = build_model(SPEC, dataset().schema, dtype=dtype)
    return layout, model, model_program(model, layout)


@functools.cache
def setup(weighting="static", num_runs=3, devices=1, dtype="float32", tap=False):
    spec = {"name": weighting, "tap": True} if tap else weighting
    steps = budget(SETTINGS, 24)
    built = weightings.build(spec, kinds=[t.kind for t in TASKS])

    def make_optimizer(numbers):
        return chain(built, SETTINGS._replace(**numbers), steps.steps)

    layout, model, program = functions(num_runs, devices, dtype)
    train = train_program(model, TASKS, make_optimizer, steps, SETTINGS.batch_size, layout, tap=tap)
    return Setup(layout, program, train, steps)


@functools.cache
def shared_data():
    return group_data([dataset().splits], 8, setup().layout)


def stack(seeds=SEEDS, source=None, rates=None):
    """What distinguishes the runs, on the host."""
    return Stack(
        np.array(seeds, np.uint32),
        np.array(source or [0] * len(seeds), np.int32),
        {"learning_rate": np.array(rates or [SETTINGS.learning_rate] * len(seeds), np.float32)},
    )


def fit(runs=None, method=None, data=None, settings=SETTINGS, **options):
    runs = runs or stack()
    method = method or setup(num_runs=len(runs.seeds))
    return train_group(
        method.layout,
        options.pop("model", method.model),
        method.train,
        TASKS,
        settings,
        method.budget,
        data or shared_data(),
        runs,
        **options,
    )


@pytest.fixture(scope="module")
def results():
    return fit()


def look(run):
    """The validation curve as (step, selection value) pairs."""
    return [
        (r["step"], -np.mean([r["metrics"][t.name]["rmse"] for t in TASKS]))
        for r in run.curves
        if r["kind"] == "val"
    ]


def assert_close(one, other):
    """Two results are equal up to rounding."""
    assert (one.seed, one.step, one.failed) == (other.seed, other.step, other.failed)
    for metrics, expected in ((one.val, other.val), (one.test, other.test)):
        for task in expected:
            assert metrics[task] == pytest.approx(expected[task], rel=1e-5)
    for record, expected in zip(one.curves, other.curves, strict=True):
        assert (record["kind"], record["step"]) == (expected["kind"], expected["step"])
        if record["kind"] == "train":
            assert record["loss"] == pytest.approx(expected["loss"], rel=1e-4)


# ---- stacking -----------------------------------------------------------------------------------------


def test_a_run_in_a_group_equals_the_run_alone(results):
    (alone,) = fit(stack([1]))
    assert_close(alone, results[1])


def test_shared_rows_equal_stacked_copies_of_them(results):
    copies = group_data([dataset().splits] * 3, 8, setup().layout)
    for one, other in zip(fit(stack(source=[0, 2, 1]), data=copies), results, strict=True):
        assert_close(one, other)


def test_every_run_reads_its_own_rows():
    sets = [dataset(seed).splits for seed in (0, 5, 6)]
    together = fit(stack(source=[2, 0, 1]), data=group_data(sets, 8, setup().layout))
    (alone,) = fit(stack([2]), data=group_data([sets[1]], 8, setup().layout))
    assert_close(together[2], alone)


def test_runs_differ_in_their_numbers(results):
    rates = fit(stack([1, 1, 1], rates=[0.01, SETTINGS.learning_rate, 0.1]))
    assert_close(rates[1], results[1])
    assert len({run.curves[0]["loss"]["task_1"] for run in rates}) == 3
    (alone,) = fit(stack([1], rates=[0.1]))
    assert_close(alone, rates[2])


@pytest.mark.parametrize("devices", [2, 3, 8])
def test_several_devices_equal_one(results, devices):
    """Three runs on two devices leave a place empty; on eight only three are used."""
    method = setup(devices=devices)
    assert method.layout.mesh.size == min(devices, 3)
    found = fit(method=method, data=group_data([dataset().splits], 8, method.layout))
    for one, other in zip(found, results, strict=True):
        assert_close(one, other)


def test_a_stop_on_two_devices_goes_on_with_one(results, tmp_path):
    method = setup(devices=2)
    data = group_data([dataset().splits], 8, method.layout)
    with pytest.raises(Stopped):
        fit(method=method, data=data, folder=tmp_path, stop_requested=stop_after(5))
    for one, other in zip(fit(folder=tmp_path), results, strict=True):
        assert_close(one, other)


def test_runs_at_once_equal_runs_one_by_one(results):
    """How accelerators run a group."""
    layout = setup().layout._replace(one_by_one=False)
    model, steps = build_model(SPEC, dataset().schema), setup().budget
    built = weightings.build("static", kinds=[t.kind for t in TASKS])
    train = train_program(
        model, TASKS, lambda n: chain(built, SETTINGS._replace(**n), 48), steps, SETTINGS.batch_size, layout
    )
    method = Setup(layout, model_program(model, layout), train, steps)
    for one, other in zip(fit(method=method), results, strict=True):
        assert_close(one, other)


def test_seeds_differ_and_repeat(results):
    assert len({r.test["task_1"]["rmse"] for r in results}) == 3
    assert fit() == results


def begin(method, runs=None):
    """The state before the first step, and the runs on the device."""
    runs = put_by_run(runs or stack(), method.layout)
    params = method.model.init(runs.seeds, {k: v[0, :1] for k, v in shared_data().train.items()})
    return method.train.start(params, runs), runs


def test_methods_start_from_the_same_weights_and_losses():
    losses, starts = [], []
    for method in (setup(), setup("uwl")):
        state, runs = begin(method)
        starts.append(jax.device_get(state.params))
        _, metrics = method.train.advance(state, runs, shared_data().train, 0)
        losses.append(metrics.losses)
    jax.tree.map(np.testing.assert_array_equal, *starts)
    # UWL starts with equal weights, so that the mean losses of the first steps differ little.
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.2)


# ---- selection ----------------------------------------------------------------------------------------


def test_the_step_is_the_best_of_the_validation_curve(results):
    for run in results:
        curve = look(run)
        assert [step for step, _ in curve] == list(range(4, 49, 4))
        assert run.step == max(curve, key=lambda point: point[1])[0]
        chosen = next(r for r in run.curves if r["kind"] == "val" and r["step"] == run.step)
        assert run.val == chosen["metrics"]
    assert len({run.step for run in results}) > 1
    assert min(run.step for run in results) < 48


def test_test_metrics_are_those_of_the_parameters_at_that_step(results):
    method, data = setup(), shared_data()
    state, runs = begin(method)
    outputs = {}
    for start in range(0, 48, 4):
        state, _ = method.train.advance(state, runs, data.train, start)
        predicted = method.model.predict(state.variables, runs.source, data.evals["test"])
        outputs[start + 4] = join(predicted, 20)
    for r, run in enumerate(results):
        assert run.test == evaluate(TASKS, outputs[run.step][r], dataset().splits["test"]["labels"])


def test_a_task_can_select():
    settings = SETTINGS._replace(select="task_2")
    for run in fit(settings=settings):
        values = {r["step"]: r["metrics"]["task_2"]["rmse"] for r in run.curves if r["kind"] == "val"}
        assert run.step == min(values, key=values.get)


def test_the_test_split_is_read_once():
    reads = {"val": 0, "test": 0}
    method, data = setup(), shared_data()

    def predict(params, source, blocks):
        reads[next(split for split in reads if blocks is data.evals[split])] += 1
        return method.model.predict(params, source, blocks)

    fit(model=method.model._replace(predict=predict))
    assert reads == {"val": 12, "test": 1}


def test_gates_are_described_at_the_end(results):
    for run in results:
        (record,) = [r for r in run.curves if r["kind"] == "gates"]
        assert record["step"] == run.step
        ((_, gate),) = record["gates"].items()
        utilisation = np.array(gate["utilisation"])
        assert utilisation.shape == (2, 2)
        np.testing.assert_allclose(utilisation.sum(axis=1), 1, rtol=1e-5)


def test_every_look_at_validation_says_how_many_experts_the_gates_use(results):
    for run in results:
        for record in (r for r in run.curves if r["kind"] == "val"):
            (gate,) = record["gates"].values()
            assert set(gate) == {"entropy", "polarised"}
            assert all(0 < entropy <= np.log(2) + 1e-6 for entropy in gate["entropy"])


# ---- early stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_early_stopping_keeps_the_best_so_far(results, patience):
    stopped = fit(settings=SETTINGS._replace(patience=patience))
    for run, full in zip(stopped, results, strict=True):
        best, since, curve = (0, -np.inf), 0, []
        for point in look(full):
            curve.append(point)
            best, since = (point, 0) if point[1] > best[1] else (best, since + 1)
            if since == patience:
                break
        assert look(run) == curve
        assert run.step == best[0]
        assert run.failed is None
        steps = [r["step"] for r in run.curves if r["kind"] == "train"]
        assert steps == list(range(4, curve[-1][0] + 1, 4))


def test_a_group_ends_when_all_runs_are_over(results):
    calls = itertools.count()

    def asked():
        next(calls)
        return False

    stopped = fit(settings=SETTINGS._replace(patience=1), stop_requested=asked)
    assert next(calls) == max(look(run)[-1][0] for run in stopped) // 4 < 12


# ---- checkpoints --------------------------------------------------------------------------------------


def stop_after(calls):
    count = itertools.count(1)
    return lambda: next(count) >= calls


def test_a_stopped_group_goes_on_bit_exactly(results, tmp_path):
    stops = 0
    while True:
        try:
            # Every 12 steps: before and after the best step of each run.
            found = fit(folder=tmp_path, stop_requested=stop_after(3))
            break
        except Stopped:
            stops += 1
    assert stops == 4
    assert found == results


def test_a_stop_with_learned_weights_and_early_stopping(tmp_path):
    options = {"method": setup("uwl"), "settings": SETTINGS._replace(patience=3)}
    undisturbed = fit(**options)
    with pytest.raises(Stopped):
        fit(folder=tmp_path, stop_requested=stop_after(4), **options)
    assert fit(folder=tmp_path, **options) == undisturbed


def test_a_finished_group_is_not_trained_again(results, tmp_path):
    assert fit(folder=tmp_path) == results
    calls = itertools.count()
    assert fit(folder=tmp_path, stop_requested=lambda: next(calls) < 0) == results
    assert next(calls) == 0


# ---- programs -----------------------------------------------------------------------------------------


def test_one_compilation_serves_all_calls_and_seeds(results):
    method = setup()
    before = method.train.advance._cache_size()
    fit(stack((7, 8, 9), rates=[0.1, 0.2, 0.3]))
    assert method.train.advance._cache_size() == before


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters(results):
    method = setup(dtype="bfloat16")
    state, _ = begin(method)
    assert {p.dtype for p in jax.tree.leaves(state.params)} == {np.dtype("float32")}
    found = fit(method=method)
    for run, full in zip(found, results, strict=True):
        first, expected = run.curves[0]["loss"]["task_1"], full.curves[0]["loss"]["task_1"]
        assert first != expected
        assert first == pytest.approx(expected, rel=0.05)
        assert run.failed is None


def test_a_tap_gives_weights_on_the_simplex():
    found = fit(method=setup("mgda", tap=True))
    for run in found:
        assert run.failed is None
        records = [r for r in run.curves if r["kind"] == "train"]
        for record in records:
            weights = np.array(list(record["weight"].values()))
            assert weights.min() >= 0
            assert weights.sum() == pytest.approx(1, abs=1e-5)
            assert record["residual"] <= 1e-3
        assert sum(records[-1]["loss"].values()) < sum(records[0]["loss"].values())


# ---- runs that diverge --------------------------------------------------------------------------------


def test_a_diverging_run_is_named_and_the_others_go_on():
    splits = [dict(dataset(seed).splits) for seed in (0, 5, 6)]
    runs = stack(source=[0, 1, 2])
    sound = fit(runs, data=group_data(splits, 8, setup().layout))
    train = dict(splits[1]["train"])
    labels = train["labels"].copy()
    labels[:] = 1e30  # squared, beyond float32
    splits[1] = {**splits[1], "train": {**train, "labels": labels}}
    found = fit(runs, data=group_data(splits, 8, setup().layout))
    assert found[1].failed == 1
    assert found[1].val == found[1].test == found[1].gates == {}
    assert [r for r in found[1].curves if r["kind"] == "val"] == []
    assert found[0] == sound[0]
    assert found[2] == sound[2]
