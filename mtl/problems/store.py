"""The files of a problem's study: the problem, a file of trajectories per weighting, the results."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl.errors import InputError
from mtl.files import RESULT_COLUMNS, to_json, write_atomic
from mtl.problems.descend import Descent
from mtl.problems.plan import MODEL, Group, Plan

REACHED = 0.01
"""A run has reached the front if it ends nearer than this, in units of a loss's range on the front.

After the 100,000 steps of the study every run is either below 0.01 or above 0.5, also from starts that are
moved a little. After 50,000 or 35,000 some are still on their way.
"""

GRID = (101, 106)
"""Numbers of values of x1 and x2 at which the mean loss is tabulated for the report."""

FRONT_POINTS = 201

DIGITS = 9
"""Significant digits of a trajectory: as many as it takes to read the same float32 back."""


def clean(workdir: Path) -> None:
    """Removes the temporary files that an interrupted write may have left."""
    for path in workdir.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_problem(workdir: Path, plan: Plan) -> None:
    """Writes `problem.json`: what a report draws trajectories over, and which to expect.

    Args:
      workdir: the study's folder.
      plan: the study.
    """
    problem = plan.problem
    x1, x2 = (np.linspace(low, high, n) for (low, high), n in zip(problem.box, GRID))
    grid = jnp.asarray(np.stack(np.meshgrid(x1, x2), axis=-1), jnp.float32)
    mean = jax.jit(jax.vmap(jax.vmap(lambda point: jnp.mean(problem.loss_fn(point)))))(grid)
    content = {
        "name": problem.name,
        "weightings": [group.label for group in plan.groups],
        "scales": problem.scales,
        "reached": REACHED,
        "x1": _rounded(x1),
        "x2": _rounded(x2),
        "mean_loss": _rounded(mean),
        "pareto_set": _rounded(problem.pareto_set(FRONT_POINTS)),
        "front": _rounded(problem.front(FRONT_POINTS)),
    }
    write_atomic(workdir / "problem.json", to_json(content) + "\n")


def save_group(workdir: Path, plan: Plan, group: Group, found: Descent) -> dict[str, Any]:
    """Writes a weighting's trajectories and end results, the mark that it is done.

    Args:
      workdir: the study's folder.
      plan: the study.
      group: the weighting.
      found: its runs.

    Returns:
      What was written.
    """
    losses = np.asarray(jax.vmap(jax.vmap(plan.problem.loss_fn))(found.points), np.float64)
    last = plan.settings.steps
    steps = [*range(0, last, plan.every), last]
    runs = []
    for i, seed in enumerate(group.runs):
        finite = np.isfinite(losses[i, -1]).all()
        failed = None if finite and found.failed[i] == last else int(found.failed[i])
        metrics = (
            {} if failed is not None else _metrics(plan, steps, losses[i], np.asarray(found.residual[i]))
        )
        runs.append(
            {
                "key": dict(
                    zip(RESULT_COLUMNS, (plan.name, plan.dataset, MODEL, group.label, "", seed), strict=False)
                ),
                "failed": failed,
                "metrics": metrics,
                "points": _rounded(found.points[i]),
                "losses": _rounded(losses[i]),
                "weights": _rounded(found.weights[i]),
                "residual": _rounded(found.residual[i]),
            }
        )
    content = {"weighting": group.label, "steps": steps, "runs": runs}
    write_atomic(_path(workdir, group), to_json(content) + "\n")
    return content


def load_group(workdir: Path, plan: Plan, group: Group) -> dict[str, Any] | None:
    """Reads a finished weighting; None if it is not finished.

    Raises:
      InputError: the file is there but is not what `save_group` writes.
    """
    path = _path(workdir, group)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        seeds = [run["key"]["seed"] for run in found["runs"] if run["failed"] or run["metrics"]]
        if seeds != list(group.runs) or found["steps"][-1] != plan.settings.steps:
            raise ValueError(f"it has not {len(group.runs)} runs of {plan.settings.steps} steps")
    except (ValueError, KeyError, TypeError, IndexError) as e:
        raise InputError(f"{path} is damaged ({e}); delete it to run its weighting again") from None
    return found


def write_results(workdir: Path, plan: Plan, finished: Mapping[str, dict[str, Any]]) -> list[str]:
    """Rebuilds `results.csv` from the weightings finished so far.

    Args:
      workdir: the study's folder.
      plan: the study.
      finished: group's id → its content.

    Returns:
      One line for every run that failed.
    """
    rows: list[tuple[Any, ...]] = []
    failures = []
    for group in plan.groups:
        for run in finished.get(group.id, {}).get("runs", ()):
            key = run["key"]
            if run["failed"] is not None:
                failures.append(
                    f"{group.label} from start {key['seed']}: a loss or weight was not finite at step "
                    f"{run['failed']}; the run has no result"
                )
            base = tuple(key[column] for column in RESULT_COLUMNS[:6])
            for task, metrics in run["metrics"].items():
                for metric, value in metrics.items():
                    rows.append((*base, "test", task, metric, repr(value), plan.settings.steps))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    writer.writerows(sorted(rows))
    write_atomic(workdir / "results.csv", out.getvalue())
    return failures


def _path(workdir: Path, group: Group) -> Path:
    return workdir / "trajectories" / f"{group.id}.json"


def _metrics(plan: Plan, steps: list[int], losses: np.ndarray, residual: np.ndarray) -> dict[str, Any]:
    """End results of a run by task; `both` is about all tasks.

    Args:
      plan: the study.
      steps: steps of the R + 1 records.
      losses: `[R + 1, T]`.
      residual: `[R]`. Where gradients are opposite, several methods have no finite weights and hence no
        small residual: on the front, and for moments before. So the median before the front is kept.
    """
    distances, places = plan.problem.place(losses)
    outside = np.flatnonzero(distances >= REACHED)
    arrival = int(outside[-1]) + 1 if len(outside) else 0  # the first record after which all are on the front
    reached = arrival < len(steps)
    both = {
        "distance_to_front": float(distances[-1]),
        "reached": float(reached),
        "residual": float(np.median(residual[:arrival])) if arrival else 0.0,
    }
    if reached:
        both |= {"balance": float(places[-1]), "steps_to_front": float(steps[arrival])}
    return {
        **{task.name: {"loss": float(loss)} for task, loss in zip(plan.tasks, losses[-1])},
        "both": both,
    }


def _rounded(values: Any) -> Any:
    array = np.asarray(values, np.float64)
    return np.vectorize(lambda x: float(f"{x:.{DIGITS}g}"))(array).tolist()
