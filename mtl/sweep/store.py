"""The files of a study's workdir that hold results: written whole, or not at all."""

import csv
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl.errors import InputError
from mtl.files import RESULT_COLUMNS, to_json, write_atomic
from mtl.sweep.plan import Group, Plan, weighting_label
from mtl.train import InputTime, Memory, RunResult

RUN_KEYS = {"key", "step", "metrics", "curves", "failed"}


def group_folder(workdir: Path, group: Group) -> Path:
    """The folder of a group's checkpoints and result."""
    return workdir / "checkpoints" / group.id


def save_group(workdir: Path, plan: Plan, group: Group, results: Sequence[RunResult]) -> None:
    """Writes a finished group's `result.json`, the mark that it is done.

    Args:
      workdir: the study's folder.
      plan: the study.
      group: the group.
      results: one per run.
    """
    runs = [
        {
            "key": _run_key(plan, group, i),
            "step": r.step,
            "metrics": {"val": r.val, "test": _with_gates(r.test, r.gates)},
            "curves": r.curves,
            "failed": r.failed,
        }
        for i, r in enumerate(results)
    ]
    write_atomic(group_folder(workdir, group) / "result.json", to_json({"runs": runs}))


def save_input(workdir: Path, group: Group, found: InputTime) -> None:
    """Writes a group's `input.json`: how long it waited for rows that stream from disk."""
    told = {
        **found._asdict(),
        "wait_share": found.wait_share,
        "examples_per_second": found.examples_per_second,
    }
    write_atomic(group_folder(workdir, group) / "input.json", to_json(told, indent=1) + "\n")


def save_memory(workdir: Path, group: Group, found: Memory) -> None:
    """Writes a group's `memory.json`: the bytes that its training held on a device, by purpose."""
    told = {"runs": len(group.runs), **found._asdict(), "total": found.total}
    write_atomic(group_folder(workdir, group) / "memory.json", to_json(told, indent=1) + "\n")


def load_group(workdir: Path, group: Group) -> dict[str, Any] | None:
    """Reads a finished group; None if it is not finished.

    Raises:
      InputError: the file is there but is not what `save_group` writes.
    """
    path = group_folder(workdir, group) / "result.json"
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        if len(found["runs"]) != len(group.runs):
            raise ValueError(f"{len(found['runs'])} runs, expected {len(group.runs)}")
        if any(set(run) != RUN_KEYS for run in found["runs"]):
            raise ValueError(f"a run has not the keys {', '.join(sorted(RUN_KEYS))}")
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} is damaged ({e}); delete it to train its group again") from None
    return found


def write_results(workdir: Path, plan: Plan) -> list[str]:
    """Rebuilds `results.csv` and `metrics.jsonl` from the groups finished so far.

    Args:
      workdir: the study's folder.
      plan: the study.

    Returns:
      One line for every run that failed.
    """
    rows: list[tuple] = []
    lines: list[tuple] = []
    failures = []
    for group in plan.groups:
        done = load_group(workdir, group)
        for run in done["runs"] if done else ():
            key = run["key"]
            base = tuple(key[c] for c in RESULT_COLUMNS[:6])
            if run["failed"] is not None:
                failures.append(
                    f"{key['model']} x {key['weighting']}"
                    + (f" [{key['hparams']}]" if key["hparams"] else "")
                    + f" seed {key['seed']}: a loss or weight was not finite at step {run['failed']}; "
                    "the run has no result; lower train.learning_rate or set train.clip_norm"
                )
            for split, tasks in run["metrics"].items():
                for task, metrics in tasks.items():
                    for metric, value in metrics.items():
                        if value is not None:
                            rows.append((*base, split, task, metric, repr(value), run["step"]))
            lines += [(*base, i, {**key, **record}) for i, record in enumerate(run["curves"])]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    writer.writerows(sorted(rows))
    write_atomic(workdir / "results.csv", out.getvalue())
    lines.sort(key=lambda line: line[:-1])
    write_atomic(workdir / "metrics.jsonl", "".join(to_json(line[-1]) + "\n" for line in lines))
    return failures


def clean(workdir: Path) -> None:
    """Removes what an interrupted write may have left: temporary files and incomplete checkpoints."""
    for path in workdir.rglob(".*.tmp"):
        path.unlink(missing_ok=True)
    for path in workdir.rglob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)


def _with_gates(
    metrics: dict[str, dict[str, float]], gates: dict[str, dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Adds to every task's metrics the mean entropy and polarised share of its own gates, one per level.

    Gates that all tasks share, of PLE between its levels, count only where tasks have none of their own.
    """
    own = [gate for gate in gates.values() if len(gate["entropy"]) == len(metrics)]
    out = {}
    for t, (task, values) in enumerate(metrics.items()):
        rows = [(gate, t) for gate in own] or [(gate, 0) for gate in gates.values()]
        found = {
            f"gate_{name}": float(np.mean([gate[name][row] for gate, row in rows]))
            for name in ("entropy", "polarised")
            if rows
        }
        out[task] = {**values, **found}
    return out


def _run_key(plan: Plan, group: Group, index: int) -> dict[str, Any]:
    run = group.runs[index]
    return {
        "study": plan.name,
        "dataset": plan.dataset,
        "model": plan.models[group.model][0],
        "weighting": weighting_label(plan, run),
        "hparams": run.hparams,
        "seed": run.seed,
    }
