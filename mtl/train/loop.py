"""The training loop of a group: compiled calls, looks at validation, checkpoints, one read of the test."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl.embedding import RowAxis, use_large_pages
from mtl.errors import InputError
from mtl.metrics import selection_value
from mtl.models import FusedTable
from mtl.progress import Progress
from mtl.tasks import Task
from mtl.train import checkpoint
from mtl.train.checkpoint import Snapshot
from mtl.train.evaluate import TaskMetrics, evaluate
from mtl.train.feed import Feed, InputTime
from mtl.train.layout import Layout, agreed, on_host, one_run, put, put_by_run
from mtl.train.memory import Memory, memory_of
from mtl.train.program import ModelProgram, Stack, TrainProgram, blocks, join, keep_best
from mtl.train.settings import Budget, TrainSettings
from mtl.train.step import TrainState
from mtl.types import Batch, PyTree


class Stopped(Exception):
    """Training was asked to stop; the state is saved and `--resume` continues."""


Gates = dict[str, dict[str, Any]]
"""Diagnostics of gates: gate → statistic → value."""


Read = Callable[[int, int], dict[str, np.ndarray]]


class GroupData(NamedTuple):
    """The data sets of a group, on the devices.

    Attributes:
      train: training columns, leaves `[sets, N, …]`.
      evals: for `val` and `test` the blocks for `predict`.
      labels: for `val` and `test` the labels `[sets, N, T]` on the host.
      masks: likewise the sample spaces, or None.
      truths: likewise the true probabilities, or None.
      sizes: for `val` and `test` the number of rows.
      probe: the first rows of `val` and `test`, equally many, for the diagnostics of gates.
      read: where the training rows stream from disk, reads those of some steps: from the first one and their
        number to host arrays `[streams, steps·B, …]`; `train` then holds a row that shows their shapes.
    """

    train: Batch
    evals: dict[str, Batch]
    labels: dict[str, np.ndarray]
    masks: dict[str, np.ndarray | None]
    truths: dict[str, np.ndarray | None]
    sizes: dict[str, int]
    probe: dict[str, Batch]
    read: Read | None = None


class RunResult(NamedTuple):
    """What is left of one run.

    Attributes:
      seed: its root seed.
      step: the step selected on validation.
      val: validation metrics at that step.
      test: test metrics at that step.
      gates: diagnostics of the gates on test rows, by gate and statistic.
      curves: records of `metrics.jsonl` without the keys that name the run.
      failed: the first step with a non-finite loss or weight; None if there was none. Such a run has no
        metrics.
    """

    seed: int
    step: int
    val: TaskMetrics
    test: TaskMetrics
    gates: Gates
    curves: list[dict[str, Any]]
    failed: int | None


PROBE_ROWS = 2048
"""Most rows on which the gates are described: of validation at every look, of the test split at the end."""


def group_data(
    splits: Sequence[dict[str, dict[str, np.ndarray]]],
    eval_batch_size: int,
    layout: Layout,
    streams: bool = False,
) -> GroupData:
    """Moves a group's data to its devices.

    Args:
      splits: the splits of every data set that the runs read; all of one shape.
      eval_batch_size: rows per block of an evaluation.
      layout: where the runs are.
      streams: whether the training rows are read from disk; the caller then sets `read`.

    Returns:
      The data, stacked over the sets.
    """

    def columns(split, rows=None):
        return {k: np.stack([s[split][k][:rows] for s in splits]) for k in splits[0][split]}

    held = {split: columns(split) for split in ("val", "test")}
    cut = {split: blocks(c, eval_batch_size) for split, c in held.items()}
    rows = min(PROBE_ROWS, *(size for _, size in cut.values()))  # equally many: one program serves both
    probe = {
        split: {k: c[:, :rows] for k, c in columns.items() if k in ("ids", "numeric")}
        for split, columns in held.items()
    }
    return GroupData(
        train=put(columns("train", 1 if streams else None), layout.everywhere),
        evals={split: put(c, layout.everywhere) for split, (c, _) in cut.items()},
        labels={s: c["labels"] for s, c in held.items()},
        masks={s: c.get("mask") for s, c in held.items()},
        truths={s: c.get("truth") for s, c in held.items()},
        sizes={split: size for split, (_, size) in cut.items()},
        probe=put(probe, layout.everywhere),
    )


def load_call(data: GroupData, layout: Layout, budget: Budget) -> Callable[[int], Batch]:
    """Returns the function that gives a training call its columns, from its first step.

    Args:
      data: the group's data.
      layout: where the runs are.
      budget: the steps of a call.
    """
    read = data.read
    if read is None:
        return lambda start: data.train
    # Waited for here, so that a slow transfer counts as input and holds up no computation.
    return lambda start: jax.block_until_ready(put(read(start, budget.steps_per_call), layout.everywhere))


def train_group(
    layout: Layout,
    model: ModelProgram,
    train: TrainProgram,
    tasks: Sequence[Task],
    settings: TrainSettings,
    budget: Budget,
    data: GroupData,
    runs: Stack,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    prune: Callable[[int, list[float | None]], Sequence[bool]] | None = None,
    begin: Callable[[PyTree], PyTree] | None = None,
    on_input: Callable[[InputTime], None] = lambda found: None,
    on_memory: Callable[[Memory], None] = lambda found: None,
) -> list[RunResult]:
    """Trains the runs of a group as one program and evaluates each at its own best step.

    The step is chosen on validation; the test split is read once, at the end. A run whose loss or weights
    stop being finite is reported with the step and gets no metrics; the others go on.

    Args:
      layout: where the runs are.
      model: the model's compiled functions.
      train: the compiled training, of the same layout.
      tasks: T tasks.
      settings: the train section of the config.
      budget: steps, from the settings and the number of rows.
      data: the group's data.
      runs: what distinguishes the S runs, on the host.
      folder: where checkpoints go; a complete one in there is continued, on however many devices. None keeps
        none.
      progress: advanced by S for every step.
      stop_requested: asked after every compiled call.
      prune: asked at every look at validation with the step and the value of every run (None for those that
        were over before); true ends a run. Asked again for the looks since the last checkpoint when a group
        is continued, so its answers must not depend on the moment.
      begin: replaces parts of the initial variables `[S, …]`, on the host; None starts from them as they are.
      on_input: told after training how long it waited for its rows, where they stream from disk.
      on_memory: told after training what it held on a device.

    Returns:
      One result per run, in their order.

    Raises:
      Stopped: `stop_requested` said so; the state has been saved.
    """
    num_runs = len(runs.seeds)
    stack = put_by_run(runs, layout)

    # ---- state: fresh, or as the last checkpoint has it -------------------------------------------
    variables = model.init(stack.seeds, {k: v[0, :1] for k, v in data.train.items()})
    own = _own(variables, model.rows(one_run(variables)), model.table, num_runs)
    if begin is not None:
        variables = put_by_run(begin(jax.tree.map(_cut, on_host(variables), own)), layout, variables)
    state = train.start(variables, stack)
    rows = train.rows(one_run(state), one_run(stack.numbers))
    log = _empty_log(num_runs, model.table)
    shapes = Snapshot(_own(state, rows, model.table, num_runs), own, log)
    saved = None
    if folder is not None:
        saved = checkpoint.restore(folder / "last", _like(state, variables, shapes))
    if saved is None:
        best = jax.tree.map(jnp.copy, variables)  # the state is donated, its parameters must not be
    else:
        state = put_by_run(saved.state, layout, state)
        best = put_by_run(saved.best, layout, variables)
        log |= saved.log  # one of an older version has no entry for what was added since
    if settings.sparse_rows:
        use_large_pages(state)
    if progress is not None:
        progress.advance(log["step"] * num_runs)

    # ---- train ------------------------------------------------------------------------------------
    saved_at = time.monotonic()
    columns = None
    starts = range(log["step"], budget.steps, budget.steps_per_call)
    depth = settings.prefetch if data.read is not None else 0
    with Feed(load_call(data, layout, budget), starts, depth) as feed:
        while log["step"] < budget.steps and not all(_over(log, settings)):
            start = log["step"]
            columns = feed.take()
            state, metrics = train.advance(state, stack, columns, np.int32(start))
            log["step"] = start + budget.steps_per_call
            metrics = on_host(metrics)
            _check_rows(int(metrics.rows.max()), settings)
            _record_train(log, tasks, start, budget.steps_per_call, metrics, settings)
            if log["step"] % budget.eval_every == 0 or log["step"] >= budget.steps:
                found = _outputs(model, data, "val", state.variables, stack)
                better = _record_val(log, tasks, data, runs.source, found, settings)
                better += [False] * (layout.padded(num_runs) - num_runs)
                best = keep_best(put(np.asarray(better), layout.by_run), best, state.variables)
                if prune is not None:
                    pruned = prune(log["step"], _values(log, tasks, settings))
                    log["pruned"] = [a or b for a, b in zip(log["pruned"], pruned, strict=True)]
            if progress is not None:
                progress.advance(budget.steps_per_call * num_runs)
            due = time.monotonic() - saved_at >= settings.checkpoint_seconds
            stopping, due = agreed(stop_requested(), due)
            if folder is not None and (stopping or due):
                checkpoint.save(folder / "last", log["step"], _snapshot(state, best, shapes))
                saved_at = time.monotonic()
            if stopping:
                raise Stopped
        waited = feed.time(budget.steps_per_call * settings.batch_size * num_runs)
        if data.read is not None and waited is not None:
            on_input(waited)
        if columns is not None:
            on_memory(memory_of(state, best, columns, (data.evals, data.probe), train.advance))
    if progress is not None and log["step"] < budget.steps:
        progress.advance((budget.steps - log["step"]) * num_runs)

    # ---- read the test split once, at the selected step -------------------------------------------
    final, gates = _outputs(model, data, "test", best, stack)
    if folder is not None:
        checkpoint.save(folder / "last", log["step"], _snapshot(state, best, shapes))
    return [_result(log, tasks, data, runs, r, final[r], gates) for r in range(num_runs)]


def _outputs(
    model: ModelProgram, data: GroupData, split: str, variables: PyTree, stack: Stack
) -> tuple[np.ndarray, Gates]:
    """What the runs say of a split, and diagnostics of their gates on its first rows."""
    outputs = on_host(model.predict(variables, stack.source, data.evals[split]))
    gates = on_host(model.diagnose(variables, stack.source, data.probe[split]))
    return join(outputs, data.sizes[split]), gates


def _own(tree: PyTree, rows: PyTree | None, table: FusedTable | None, num_runs: int) -> PyTree:
    """The shapes of what is a group's own in device arrays: no runs, and no rows, that only fill devices."""

    def shape(x, where):
        dimensions = [num_runs, *x.shape[1:]]
        if table is not None and where.table:
            dimensions[1 + where.axis] = table.num_rows
        return jax.ShapeDtypeStruct(dimensions, x.dtype)

    return jax.tree.map(shape, tree, jax.tree.map(lambda _: RowAxis(), tree) if rows is None else rows)


def _cut(x: np.ndarray, own: jax.ShapeDtypeStruct) -> np.ndarray:
    return x[tuple(map(slice, own.shape))]


def _snapshot(state: TrainState, best: PyTree, shapes: Snapshot) -> Snapshot:
    """The group's own; arrays that hold nothing else are not copied, and what processes share stays whole."""

    def held(x, own):
        return _cut(np.asarray(x), own) if x.is_fully_addressable and x.shape != own.shape else x

    return Snapshot(
        jax.tree.map(held, state, shapes.state), jax.tree.map(held, best, shapes.best), shapes.log
    )


def _like(state: TrainState, best: PyTree, shapes: Snapshot) -> Snapshot:
    """The shapes of such a snapshot."""

    def shape(x, own):
        return own if x.is_fully_addressable else x

    return Snapshot(
        jax.tree.map(shape, state, shapes.state), jax.tree.map(shape, best, shapes.best), shapes.log
    )


def _check_rows(distinct: int, settings: TrainSettings) -> None:
    """Refuses batches whose distinct ids found no place in a sparse step."""
    if distinct > settings.sparse_capacity > 0:
        raise InputError(
            f"the ids of a batch mean {distinct} distinct rows, but train.sparse_capacity is "
            f"{settings.sparse_capacity}; raise it to {distinct} or more, or to 0 for as many as there can be"
        )


def _empty_log(num_runs: int, table: FusedTable | None) -> dict[str, Any]:
    return {
        "step": 0,
        "table": None if table is None else {"path": ["params", *table.path], "rows": table.num_rows},
        "best_value": [None] * num_runs,
        "best_step": [0] * num_runs,
        "best_metrics": [{} for _ in range(num_runs)],
        "looks_since": [0] * num_runs,
        "failed": [None] * num_runs,
        "pruned": [False] * num_runs,
        "curves": [[] for _ in range(num_runs)],
    }


def _over(log: dict[str, Any], settings: TrainSettings) -> list[bool]:
    """Which runs have failed, have looked `patience` times without improvement, or were pruned."""
    tired = [settings.patience > 0 and n >= settings.patience for n in log["looks_since"]]
    states = zip(log["failed"], tired, log["pruned"], strict=True)
    return [failed is not None or done or pruned for failed, done, pruned in states]


def _values(log: dict[str, Any], tasks: Sequence[Task], settings: TrainSettings) -> list[float | None]:
    """What every run was worth at the look just taken; None for runs that were over before it."""
    looks = [curve[-1] if curve else {} for curve in log["curves"]]
    return [
        selection_value(tasks, look["metrics"], settings.select)
        if look.get("kind") == "val" and look["step"] == log["step"]
        else None
        for look in looks
    ]


def _record_train(
    log: dict[str, Any], tasks: Sequence[Task], start: int, length: int, metrics: Any, settings: TrainSettings
) -> None:
    names = [t.name for t in tasks]
    over = _over(log, settings)
    for r, curve in enumerate(log["curves"]):
        bad = int(metrics.first_bad[r])
        if over[r]:
            continue
        if bad < length:
            log["failed"][r] = start + bad + 1
            continue
        curve.append(
            {
                "kind": "train",
                "step": start + length,
                "loss": dict(zip(names, metrics.losses[r].tolist(), strict=True)),
                "weight": dict(zip(names, metrics.weights[r].tolist(), strict=True)),
                "residual": float(metrics.residual[r]),
            }
        )


def _record_val(
    log: dict[str, Any],
    tasks: Sequence[Task],
    data: GroupData,
    source: np.ndarray,
    found: tuple[np.ndarray, Gates],
    settings: TrainSettings,
) -> list[bool]:
    """Evaluates every live run on validation; returns which of them are better than ever before."""
    outputs, gates = found
    over = _over(log, settings)
    better = []
    for r, curve in enumerate(log["curves"]):
        if over[r]:
            better.append(False)
            continue
        metrics = _evaluate_run(tasks, data, "val", source[r], outputs[r])
        value = selection_value(tasks, metrics, settings.select)
        before = log["best_value"][r]
        better.append(bool(np.isfinite(value)) and (before is None or value > before))
        log["looks_since"][r] = 0 if better[r] else log["looks_since"][r] + 1
        if better[r]:
            log["best_value"][r], log["best_step"][r] = value, log["step"]
            log["best_metrics"][r] = metrics
        curve.append({"kind": "val", "step": log["step"], "metrics": metrics})
        if gates:
            curve[-1]["gates"] = _of_run(gates, r, ("entropy", "polarised"))
    return better


def _evaluate_run(
    tasks: Sequence[Task], data: GroupData, split: str, source: int, outputs: np.ndarray
) -> TaskMetrics:
    mask, truth = data.masks[split], data.truths[split]
    return evaluate(
        tasks,
        outputs,
        data.labels[split][source],
        None if mask is None else mask[source],
        None if truth is None else truth[source],
    )


def _of_run(gates: Gates, run: int, statistics: Sequence[str] = ()) -> Gates:
    """The diagnostics of one run, all statistics or some, as lists."""
    return {
        gate: {k: np.asarray(v)[run].tolist() for k, v in found.items() if k in (statistics or found)}
        for gate, found in gates.items()
    }


def _result(
    log: dict[str, Any],
    tasks: Sequence[Task],
    data: GroupData,
    runs: Stack,
    run: int,
    outputs: np.ndarray,
    gates: Gates,
) -> RunResult:
    if log["best_value"][run] is None and log["failed"][run] is None:
        log["failed"][run] = log["step"]  # validation never gave a finite value
    failed = log["failed"][run]
    step = log["best_step"][run]
    mine = _of_run(gates, run)
    curves = list(log["curves"][run])
    if failed is None and mine:
        curves.append({"kind": "gates", "step": step, "gates": mine})
    return RunResult(
        seed=int(runs.seeds[run]),
        step=step,
        val=log["best_metrics"][run] if failed is None else {},
        test=_evaluate_run(tasks, data, "test", runs.source[run], outputs) if failed is None else {},
        gates=mine if failed is None else {},
        curves=curves,
        failed=failed,
    )
