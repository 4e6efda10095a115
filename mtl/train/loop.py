"""The training loop of a group: compiled calls, looks at validation, checkpoints, one read of the test."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtl.compilation import compile_quickly
from mtl.progress import Progress
from mtl.tasks import Task
from mtl.train import checkpoint
from mtl.train.checkpoint import Snapshot
from mtl.train.evaluate import TaskMetrics, evaluate, selection_value
from mtl.train.program import (
    ChunkMetrics,
    ModelProgram,
    blocks,
    join,
    keep_best,
)
from mtl.train.random import stream_key
from mtl.train.settings import Budget, TrainSettings
from mtl.train.step import TrainState
from mtl.types import Array, Batch, PyTree
from mtl.weightings import with_key


class Stopped(Exception):
    """Training was asked to stop; the state is saved and `--resume` continues."""


class GroupData(NamedTuple):
    """The data of a group, on the device.

    Attributes:
      train: training columns, leaves `[N, …]`, or `[S, N, …]` with data_axis 0.
      evals: for `val` and `test` the blocks for `predict`.
      labels: for `val` and `test` the labels `[S or 1, N, T]` on the host.
      masks: likewise the sample spaces, or None.
      sizes: for `val` and `test` the number of rows.
      probe: the first rows of the test split, for the diagnostics of gates.
      data_axis: 0 when every run has its own rows, else None.
    """

    train: Batch
    evals: dict[str, Batch]
    labels: dict[str, np.ndarray]
    masks: dict[str, np.ndarray | None]
    sizes: dict[str, int]
    probe: Batch
    data_axis: int | None


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
    gates: dict[str, dict[str, Any]]
    curves: list[dict[str, Any]]
    failed: int | None


PROBE_ROWS = 4096
"""Test rows on which the gates are described."""


def group_data(splits: Sequence[dict[str, dict[str, np.ndarray]]], eval_batch_size: int) -> GroupData:
    """Moves a group's data to the device.

    Args:
      splits: one data set's splits, shared by all runs, or one per run.
      eval_batch_size: rows per block of an evaluation.

    Returns:
      The data; with more than one data set, stacked on a leading axis.
    """
    axis = None if len(splits) == 1 else 0

    def columns(split):
        if axis is None:
            return dict(splits[0][split])
        return {k: np.stack([s[split][k] for s in splits]) for k in splits[0][split]}

    held = {split: columns(split) for split in ("val", "test")}
    cut = {split: blocks(c, eval_batch_size, axis) for split, c in held.items()}
    rows = slice(0, PROBE_ROWS)
    probe = {k: c[rows] if axis is None else c[:, rows] for k, c in held["test"].items()}
    masks = {s: c.get("mask") for s, c in held.items()}
    return GroupData(
        train={k: jnp.asarray(v) for k, v in columns("train").items()},
        evals={split: c for split, (c, _) in cut.items()},
        labels={s: c["labels"] if axis == 0 else c["labels"][None] for s, c in held.items()},
        masks={s: m if m is None or axis == 0 else m[None] for s, m in masks.items()},
        sizes={split: size for split, (_, size) in cut.items()},
        probe={k: jnp.asarray(v) for k, v in probe.items() if k in ("ids", "numeric")},
        data_axis=axis,
    )


def train_group(
    program: ModelProgram,
    tasks: Sequence[Task],
    optimizer: optax.GradientTransformationExtraArgs,
    call: Callable[..., tuple[TrainState, ChunkMetrics]],
    settings: TrainSettings,
    budget: Budget,
    data: GroupData,
    seeds: Sequence[int],
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> list[RunResult]:
    """Trains the runs of a group as one program and evaluates each at its own best step.

    The step is chosen on validation; the test split is read once, at the end. A run whose loss or weights
    stop being finite is reported with the step and gets no metrics; the others go on.

    Args:
      program: the model's compiled functions.
      tasks: T tasks.
      optimizer: a chain that begins with a weighting.
      call: K compiled steps of all runs, from `train_program` with the same optimiser.
      settings: the train section of the config.
      budget: steps, from the settings and the number of rows.
      data: the group's data.
      seeds: S root seeds, one per run.
      folder: where checkpoints go; a complete one in there is continued. None keeps none.
      progress: advanced by S for every step.
      stop_requested: asked after every compiled call.

    Returns:
      One result per run, in the order of the seeds.

    Raises:
      Stopped: `stop_requested` said so; the state has been saved.
    """
    roots = jnp.asarray(seeds, jnp.uint32)
    num_runs = len(seeds)

    # ---- state: fresh, or as the last checkpoint has it -------------------------------------------
    one_row = {k: v[:, :1] if data.data_axis == 0 else v[:1] for k, v in data.train.items()}
    params = program.init(roots, one_row)
    opt_state = jax.jit(jax.vmap(partial(_init, optimizer)), compiler_options=compile_quickly())(
        params, roots
    )
    state = TrainState(params, opt_state)
    snapshot = Snapshot(state, params, _empty_log(num_runs))
    if folder is not None:
        snapshot = checkpoint.restore(folder / "last", snapshot) or snapshot
    state, best, log = snapshot
    best = jax.tree.map(jnp.copy, best)  # the state is donated, its parameters must not be
    if progress is not None:
        progress.advance(log["step"] * num_runs)

    # ---- train ------------------------------------------------------------------------------------
    saved_at = time.monotonic()
    while log["step"] < budget.steps and not all(_over(log, settings)):
        start = log["step"]
        state, metrics = call(state, roots, data.train, np.int32(start))
        log["step"] = start + budget.steps_per_call
        _record_train(log, tasks, start, budget.steps_per_call, jax.device_get(metrics), settings)
        if log["step"] % budget.eval_every == 0 or log["step"] >= budget.steps:
            outputs = join(program.predict(state.params, data.evals["val"]), data.sizes["val"])
            better = _record_val(log, tasks, data, outputs, settings)
            best = keep_best(jnp.asarray(better), best, state.params)
        if progress is not None:
            progress.advance(budget.steps_per_call * num_runs)
        stopping = stop_requested()
        due = time.monotonic() - saved_at >= settings.checkpoint_seconds
        if folder is not None and (stopping or due):
            checkpoint.save(folder / "last", log["step"], Snapshot(state, best, log))
            saved_at = time.monotonic()
        if stopping:
            raise Stopped
    if progress is not None and log["step"] < budget.steps:
        progress.advance((budget.steps - log["step"]) * num_runs)

    # ---- read the test split once, at the selected step -------------------------------------------
    outputs = join(program.predict(best, data.evals["test"]), data.sizes["test"])
    gates = jax.device_get(program.diagnose(best, data.probe))
    if folder is not None:
        checkpoint.save(folder / "last", log["step"], Snapshot(state, best, log))
    return [_result(log, tasks, data, r, seed, outputs[r], gates) for r, seed in enumerate(seeds)]


def _init(optimizer: optax.GradientTransformationExtraArgs, params: PyTree, seed: Array) -> optax.OptState:
    """The optimiser's state, with the run's own key for weightings that draw numbers."""
    return with_key(optimizer.init(params), stream_key(seed, "weighting"))


def _empty_log(num_runs: int) -> dict[str, Any]:
    return {
        "step": 0,
        "best_value": [None] * num_runs,
        "best_step": [0] * num_runs,
        "best_metrics": [{} for _ in range(num_runs)],
        "looks_since": [0] * num_runs,
        "failed": [None] * num_runs,
        "curves": [[] for _ in range(num_runs)],
    }


def _over(log: dict[str, Any], settings: TrainSettings) -> list[bool]:
    """Which runs have failed or have looked `patience` times without improvement."""
    tired = [settings.patience > 0 and n >= settings.patience for n in log["looks_since"]]
    return [failed is not None or done for failed, done in zip(log["failed"], tired, strict=True)]


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
    log: dict[str, Any], tasks: Sequence[Task], data: GroupData, outputs: np.ndarray, settings: TrainSettings
) -> list[bool]:
    """Evaluates every live run on validation; returns which of them are better than ever before."""
    over = _over(log, settings)
    better = []
    for r, curve in enumerate(log["curves"]):
        if over[r]:
            better.append(False)
            continue
        metrics = _evaluate_run(tasks, data, "val", r, outputs[r])
        value = selection_value(tasks, metrics, settings.select)
        before = log["best_value"][r]
        better.append(bool(np.isfinite(value)) and (before is None or value > before))
        log["looks_since"][r] = 0 if better[r] else log["looks_since"][r] + 1
        if better[r]:
            log["best_value"][r], log["best_step"][r] = value, log["step"]
            log["best_metrics"][r] = metrics
        curve.append({"kind": "val", "step": log["step"], "metrics": metrics})
    return better


def _evaluate_run(
    tasks: Sequence[Task], data: GroupData, split: str, run: int, outputs: np.ndarray
) -> TaskMetrics:
    row = run if data.data_axis == 0 else 0
    mask = data.masks[split]
    return evaluate(tasks, outputs, data.labels[split][row], None if mask is None else mask[row])


def _result(
    log: dict[str, Any],
    tasks: Sequence[Task],
    data: GroupData,
    run: int,
    seed: int,
    outputs: np.ndarray,
    gates: dict[str, dict[str, Any]],
) -> RunResult:
    if log["best_value"][run] is None and log["failed"][run] is None:
        log["failed"][run] = log["step"]  # validation never gave a finite value
    failed = log["failed"][run]
    step = log["best_step"][run]
    mine = {g: {k: np.asarray(v)[run].tolist() for k, v in stats.items()} for g, stats in gates.items()}
    curves = list(log["curves"][run])
    if failed is None and mine:
        curves.append({"kind": "gates", "step": step, "gates": mine})
    return RunResult(
        seed=int(seed),
        step=step,
        val=log["best_metrics"][run] if failed is None else {},
        test=_evaluate_run(tasks, data, "test", run, outputs) if failed is None else {},
        gates=mine if failed is None else {},
        curves=curves,
        failed=failed,
    )
