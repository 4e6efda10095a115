"""One batch of a search's trials: trained group by group, each told to the storage once all are done."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtl.metrics import selection_value
from mtl.sweep.optuna_study import FrozenTrial, Study, prune_by, tell
from mtl.sweep.plan import Plan, beginning, group_tasks
from mtl.sweep.programs import Programs
from mtl.sweep.store import group_folder, load_group, save_group
from mtl.tasks import Task
from mtl.train import train_group


class Found(NamedTuple):
    """What a trial's runs came to.

    Attributes:
      metrics: validation metrics of every run at its best step.
      failed: whether one of them failed.
      steps: of every run, unless it ends early.
      rows: per step, of all runs together.
    """

    metrics: list[Mapping[str, Mapping[str, Any]]]
    failed: bool
    steps: int
    rows: int


def run_batch(
    programs: Programs,
    folder: Path,
    study: Study,
    batch: Sequence[FrozenTrial],
    options: Mapping[str, Any],
    stop_requested: Callable[[], bool],
) -> None:
    """Trains a batch and tells what became of every trial.

    Args:
      programs: for the batch's plan, whose runs have the trial's number in `hparams`.
      folder: where the batch's checkpoints and results are.
      study: the method's study.
      batch: its trials.
      options: the section `search` of the config.
      stop_requested: asked after every compiled call; true ends the search with a checkpoint.

    Raises:
      Stopped: `stop_requested` said so.
    """
    found: dict[int, Found] = {}
    for k, named in enumerate(programs.plan.groups):
        group = named._replace(id=f"{k:02d}")  # the same whichever batches this process has run before
        numbers = [int(run.hparams) for run in group.runs]
        settings = group.runs[0].settings
        if load_group(folder, group) is None:
            results = train_group(
                *programs.compile(group),
                group_tasks(programs.plan, group),
                settings,
                group.budget,
                programs.data(group),
                programs.stack(group),
                folder=group_folder(folder, group),
                stop_requested=stop_requested,
                begin=beginning(programs.plan, group),
                prune=None if options["pruner"] == "none" else prune_by(study, numbers),
            )
            # What stood in the place of the test split is no test.
            save_group(folder, programs.plan, group, [r._replace(test={}) for r in results])
        done = load_group(folder, group)
        assert done is not None
        for number, record in zip(numbers, done["runs"], strict=True):
            before = found.get(number, Found([], False, group.budget.steps, 0))
            found[number] = Found(
                [*before.metrics, record["metrics"]["val"]],
                before.failed or record["failed"] is not None,
                before.steps,
                before.rows + settings.batch_size,
            )
    for trial in batch:
        own = found[trial.number]
        values = _objectives(programs.plan, own, options["objective"])
        tell(study, trial, values, own.steps, own.rows)


def _objectives(plan: Plan, found: Found, objective: str) -> list[float] | None:
    """What a trial is worth, to be maximised: means over its seeds; None if that is not finite."""
    if found.failed:
        return None
    select = plan.groups[0].runs[0].settings.select
    names = [select] if objective == "select" else [task.name for task in plan.tasks]
    values = [
        math.fsum(_value(plan.tasks, metrics, name) for metrics in found.metrics) / len(found.metrics)
        for name in names
    ]
    return values if all(map(math.isfinite, values)) else None


def _value(tasks: Sequence[Task], metrics: Mapping[str, Mapping[str, Any]], select: str) -> float:
    numbers = {t: {k: math.nan if v is None else v for k, v in m.items()} for t, m in metrics.items()}
    return selection_value(tasks, numbers, select)
