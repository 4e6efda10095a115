"""Runs a plan: group after group, resumable at any moment."""

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl import weightings
from mtl.progress import Progress
from mtl.sweep.config import without_label
from mtl.sweep.plan import BASELINE_WEIGHTING, Group, Plan
from mtl.sweep.store import clean, group_folder, load_group, save_group, write_results
from mtl.train import (
    GroupData,
    chain,
    find_ownership,
    group_data,
    model_program,
    train_group,
    train_program,
)
from mtl.types import PyTree


def run_plan(plan: Plan, workdir: Path, stop_requested: Callable[[], bool] = lambda: False) -> list[str]:
    """Trains every group that is not finished and writes the result files after each.

    Args:
      plan: the study.
      workdir: its folder.
      stop_requested: asked after every compiled call; true ends the study with a checkpoint.

    Returns:
      One line per run that failed.

    Raises:
      Stopped: `stop_requested` said so; the same call continues later.
    """
    clean(workdir)
    compiled = _Compiled(plan)
    total = sum(g.budget.steps * len(g.runs) for g in plan.groups)
    failures = write_results(workdir, plan)
    with Progress(total, "steps") as progress:
        for number, group in enumerate(plan.groups, 1):
            if load_group(workdir, group) is not None:
                progress.advance(group.budget.steps * len(group.runs))
                continue
            model, weighting = plan.models[group.model][0], _weighting_label(plan, group)
            progress.label(f"[{number}/{len(plan.groups)}] {model} x {weighting}")
            start = time.monotonic()
            data = compiled.data(group)
            program = compiled.model(group)
            optimizer, call = compiled.train(group)
            results = train_group(
                program,
                plan.tasks,
                optimizer,
                call,
                group.settings,
                group.budget,
                data,
                [run.seed for run in group.runs],
                folder=group_folder(workdir, group),
                progress=progress,
                stop_requested=stop_requested,
            )
            save_group(workdir, plan, group, results)
            failures = write_results(workdir, plan)
            seconds = time.monotonic() - start
            examples = group.budget.steps * group.settings.batch_size * len(group.runs)
            progress.note(
                f"[{number}/{len(plan.groups)}] {model} x {weighting}: {len(group.runs)} runs of "
                f"{group.budget.steps} steps in {seconds:.1f} s, {examples / seconds:,.0f} examples/s "
                "with compilation"
            )
    return failures


class _Compiled:
    """Keeps what groups share: device data, compiled functions of a model, compiled training calls."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._data = functools.lru_cache(maxsize=1)(self._make_data)
        self._model = functools.cache(self._make_model)
        self._shared = functools.cache(self._make_shared)
        self._train = functools.cache(self._make_train)

    def data(self, group: Group) -> GroupData:
        return self._data(group.data, group.settings.eval_batch_size)

    def model(self, group: Group) -> Any:
        return self._model(group.model, self._axis(group))

    def train(self, group: Group) -> Any:
        return self._train(group.model, group.weighting, group.settings, group.budget, self._axis(group))

    def _axis(self, group: Group) -> int | None:
        return None if len(self.plan.data[group.data]) == 1 else 0

    def _make_data(self, index: int, eval_batch_size: int) -> GroupData:
        return group_data([d.splits for d in self.plan.data[index]], eval_batch_size)

    def _make_model(self, index: int, axis: int | None) -> Any:
        return model_program(self.plan.models[index][2], axis)

    def _make_shared(self, index: int) -> PyTree:
        """Which leaves the tasks of a model share, found on a few training rows."""
        model = self.plan.models[index][2]
        batch = _probe_rows(self.plan.data[0][0].splits["train"])
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        shapes = jax.eval_shape(model.init, keys, batch)["params"]
        # Any finite values do: what depends on what is a matter of structure.
        draw = np.random.default_rng(0)
        params = jax.tree.map(lambda x: jnp.asarray(0.1 * draw.normal(size=x.shape), x.dtype), shapes)
        return find_ownership(model, self.plan.tasks, params, batch).shared

    def _make_train(self, index: int, weighting: int | None, settings: Any, budget: Any, axis: Any) -> Any:
        model = self.plan.models[index][2]
        spec = BASELINE_WEIGHTING if weighting is None else self.plan.weightings[weighting][1]
        spec = without_label(spec)
        name, arguments = weightings.parse(spec)
        shared = None if name in weightings.SCALARIZATIONS else self._shared(index)
        kinds = [t.kind for t in self.plan.tasks]
        optimizer = chain(weightings.build(spec, kinds=kinds, shared=shared), settings, budget.steps)
        tap = bool(arguments.get("tap", False))
        call = train_program(model, self.plan.tasks, optimizer, budget, settings.batch_size, axis, tap=tap)
        return optimizer, call


def _probe_rows(columns: Mapping[str, np.ndarray], per_task: int = 4) -> dict[str, jax.Array]:
    """A few rows with some in every task's sample space."""
    mask = columns.get("mask")
    if mask is None:
        rows = np.arange(min(per_task, len(columns["labels"])))
    else:
        rows = np.unique(np.concatenate([np.flatnonzero(m)[:per_task] for m in mask.T]))
    return {k: jnp.asarray(v[rows]) for k, v in columns.items()}


def _weighting_label(plan: Plan, group: Group) -> str:
    return BASELINE_WEIGHTING if group.weighting is None else plan.weightings[group.weighting][0]
