"""Studies whose training rows stream from disk: the steps they take, resuming, groups, damaged files."""

import functools
import itertools
import json
import shutil

import jax
import numpy as np
import pytest

from mtl import sweep, weightings
from mtl.data import DATASETS, Stream, funnel_synthetic
from mtl.data.shards import Contents, dataset_of, open_shards, residence, write_shards
from mtl.errors import InputError
from mtl.models import build_model
from mtl.sweep.programs import Programs
from mtl.train import Stopped, TrainState, chain, make_step, read_best, stream_key, train_settings

ROWS, BLOCK, WINDOW = 400, 16, 64
TRAIN = {"batch_size": 16, "steps": 60, "eval_every": 20, "steps_per_call": 10, "checkpoint_seconds": 0.0}
SPEC = {"name": "shared_bottom", "bottom_features": (8,), "tower_features": (4,), "embedding_dim": 2}


@functools.cache
def source():
    return funnel_synthetic(
        click_rate=0.4, conversion_rate=0.3, dim=3, num_users=20, num_items=10,
        num_train=ROWS, num_val=60, num_test=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    made = list(source().splits.items())
    write_shards(folder, "tiny", Contents(source().schema, lambda done: made[done:], {}), BLOCK, 4)
    return folder


def loader(folder):
    """Loads the data set `tiny`, in memory or not."""

    def load(in_memory=False, window_rows=WINDOW):
        return dataset_of(open_shards(folder), "tiny", {}, residence(in_memory, window_rows, 1000))

    return load


@pytest.fixture(autouse=True)
def tiny(folder, monkeypatch):
    monkeypatch.setitem(DATASETS, "tiny", loader(folder))
    return DATASETS["tiny"]


def config(*, dataset=(), train=(), seeds=2, specs=("static",)):
    return sweep.check_config(
        sweep.plain(
            sweep.study_config(
                name="streamed",
                dataset={"name": "tiny", **dict(dataset)},
                models=(SPEC,),
                weightings=specs,
                seeds=seeds,
                train={**TRAIN, **dict(train)},
                report={"baseline": ""},
            )
        )
    )


def run(workdir, stop=lambda: False, **changes):
    workdir.mkdir(exist_ok=True)
    assert sweep.run_plan(sweep.make_plan(config(**changes)), workdir, stop) == []
    return {name: (workdir / name).read_bytes() for name in ("results.csv", "metrics.jsonl")}


def stop_after(calls):
    count = itertools.count(1)
    return lambda: next(count) >= calls


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "tiny", loader(folder))
        workdir = tmp_path_factory.mktemp("undisturbed")
        return workdir, run(workdir)


def test_steps_are_those_of_the_batches_that_a_stream_reads(tiny):
    """A loop in Python over the batches gives the parameters of the compiled calls."""
    plan = sweep.make_plan(config())
    (group,) = plan.groups
    programs = Programs(plan)
    layout, model, train = programs.compile(group)
    data = programs.data(group)
    runs = jax.device_put(programs.stack(group), layout.by_run)
    variables = model.init(runs.seeds, {k: v[0, :1] for k, v in data.train.items()})
    state = train.start(variables, runs)
    for start in (0, 10, 20):  # across the end of an epoch of 25 steps
        state, _ = train.advance(state, runs, data.read(start, 10), np.int32(start))

    tasks = source().schema.tasks
    settings = train_settings(TRAIN)
    optimizer = chain(weightings.build("static", kinds=[t.kind for t in tasks]), settings, 60)
    step = jax.jit(make_step(build_model(SPEC, source().schema), tasks, optimizer))
    initial, state = jax.device_get((variables["params"], state))
    for r, seed in enumerate((0, 1)):
        params = jax.tree.map(lambda x, r=r: x[r], initial)
        alone = TrainState(params, optimizer.init(params), {})
        stream = Stream(tiny().stream, seed, 16, 25)
        for k in range(30):
            out = tiny().stream.blocks.empty(16)
            stream.read(k, 1, out)
            alone, _ = step(alone, out, stream_key(seed, "dropout", k))
        for one, other in zip(jax.tree.leaves(alone.params), jax.tree.leaves(state.params), strict=True):
            np.testing.assert_allclose(one, other[r], rtol=1e-4, atol=1e-6)


def test_rows_of_an_epoch_are_those_of_the_set():
    plan = sweep.make_plan(config())
    data = Programs(plan).data(plan.groups[0])
    expected = np.sort(source().splits["train"]["numeric"][:, 0])
    found = data.read(25, 25)["numeric"]  # the second epoch
    assert found.shape == (2, ROWS, 3)
    for own in found:
        np.testing.assert_array_equal(np.sort(own[:, 0]), expected)
    assert not np.array_equal(found[0], found[1])
    assert data.train["labels"].shape[1] == 1


def test_a_stop_in_the_middle_of_an_epoch_changes_no_byte(tmp_path, undisturbed):
    stops = 0
    while True:
        try:
            found = run(tmp_path / "stopped", stop_after(1))  # after 10, 20, … steps; an epoch has 25
            break
        except Stopped:
            stops += 1
    assert stops == 6
    assert found == undisturbed[1]


def test_a_kill_repeats_what_was_not_saved(tmp_path, undisturbed):
    """A copy of the files as they were at a checkpoint is what a killed process leaves."""
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", stop_after(3))
    shutil.copytree(tmp_path / "stopped", tmp_path / "killed")
    assert run(tmp_path / "killed") == undisturbed[1]


def test_the_depth_of_the_feed_changes_no_byte(tmp_path, undisturbed):
    assert run(tmp_path / "a", train={"prefetch": 0}) == undisturbed[1]
    assert run(tmp_path / "b", train={"prefetch": 5}) == undisturbed[1]


def test_every_seed_has_an_order_of_its_own_whatever_its_group(tmp_path, undisturbed):
    alone = run(tmp_path / "alone", train={"group_runs": 1})
    together = undisturbed[1]["metrics.jsonl"].splitlines()
    for one, other in zip(alone["metrics.jsonl"].splitlines(), together, strict=True):
        one, other = json.loads(one), json.loads(other)
        if one["kind"] == "train":
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_a_group_tells_how_long_it_waited(tmp_path, undisturbed, capfd):
    (path,) = undisturbed[0].glob("checkpoints/*/input.json")
    told = json.loads(path.read_text())
    assert set(told) == {
        *("examples", "seconds", "wait_seconds", "first_seconds", "wait_share", "examples_per_second")
    }
    assert told["examples"] == 2 * 60 * 16
    assert 0 <= told["wait_seconds"] <= told["seconds"]
    run(tmp_path / "streamed", train={"steps": 10})
    assert "% of the training for rows" in capfd.readouterr().err
    run(tmp_path / "held", dataset={"in_memory": True}, train={"steps": 10})
    assert "for rows" not in capfd.readouterr().err
    assert list((tmp_path / "held").glob("checkpoints/*/input.json")) == []


def test_weightings_that_read_several_batches_and_balancers_stream(tmp_path):
    specs = ("modo", "mgda")
    found = run(tmp_path / "several", specs=specs, seeds=1, train={"steps": 24, "eval_every": 12})
    for spec in specs:
        assert f",{spec},".encode() in found["results.csv"]


def test_steps_on_the_rows_of_a_batch_stream(tmp_path):
    """Without momentum they are the dense steps."""
    train = {"optimizer": "sgd", "learning_rate": 0.1}
    dense = run(tmp_path / "dense", train=train)["metrics.jsonl"].splitlines()
    sparse = run(tmp_path / "sparse", train={**train, "sparse_rows": True})["metrics.jsonl"].splitlines()
    for one, other in zip(map(json.loads, dense), map(json.loads, sparse), strict=True):
        if one["kind"] == "train":
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


# ---- several devices ----------------------------------------------------------------------------------

SPARSE = {"steps": 30, "eval_every": 10, "steps_per_call": 10, "learning_rate": 0.01, "sparse_rows": True}
DIVIDED = {"data_parallel": 2, "table_shards": 4}


def numbers(workdir):
    """What was recorded of losses, weights and metrics, and where; a solver's residual is all rounding."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    found = {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(records)}
    return {path: x for path, x in found.items() if isinstance(x, float) and "residual" not in path}


def best(workdir):
    (group,) = workdir.glob("checkpoints/*")
    return jax.tree.leaves(read_best(group / "last"))


def assert_same(workdir, other):
    assert numbers(workdir) == pytest.approx(numbers(other), rel=1e-6)
    for found, expected in zip(best(workdir), best(other), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.fixture(scope="module")
def on_one(folder, tmp_path_factory):
    """The folder of two runs with MGDA, each on one device."""
    workdir = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "tiny", loader(folder))
        run(workdir, specs=("mgda",), train=SPARSE)
    return workdir


@pytest.mark.parametrize(
    "devices", [DIVIDED, pytest.param({"data_parallel": 8}, marks=pytest.mark.slow)], ids=str
)
def test_a_stream_on_several_devices_is_that_on_one(tmp_path, on_one, devices):
    run(tmp_path, specs=("mgda",), train={**SPARSE, **devices})
    assert_same(tmp_path, on_one)


def test_a_stream_goes_on_on_other_devices(tmp_path, on_one):
    with pytest.raises(Stopped):
        run(tmp_path, stop_after(1), specs=("mgda",), train=SPARSE)
    run(tmp_path, specs=("mgda",), train={**SPARSE, **DIVIDED})
    assert_same(tmp_path, on_one)


def test_groups_are_cut_by_the_rows_that_wait_in_memory():
    small = sweep.make_plan(config(seeds=6, train={"group_gib": 1e-4}))
    assert len(small.groups) > len(sweep.make_plan(config(seeds=6)).groups)
    held = sweep.make_plan(config(seeds=6, train={"group_gib": 1e-4}, dataset={"in_memory": True}))
    assert len(held.groups) <= len(small.groups)


def test_a_dry_run_measures_a_set_that_streams():
    lines = list(sweep.describe(sweep.make_plan(config())))
    assert "2 runs in 1 groups" in lines[-2]


def test_a_damaged_block_stops_the_study_with_its_name(tmp_path, folder, monkeypatch):
    damaged = tmp_path / "shards"
    shutil.copytree(folder, damaged)
    path = sorted(damaged.glob("train.*.arrow"))[2]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(x ^ 255 for x in content[middle : middle + 64])
    path.write_bytes(content)
    monkeypatch.setitem(
        DATASETS,
        "tiny",
        lambda: dataset_of(open_shards(damaged), "tiny", {}, residence(False, WINDOW, 1000)),
    )
    with pytest.raises(InputError, match=rf"{path.name}: is damaged .*delete the folder"):
        run(tmp_path / "damaged")


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(
        InputError, match=r"train.batch_size is 500, but the training split has only 400 rows"
    ):
        sweep.make_plan(config(train={"batch_size": 500}))
