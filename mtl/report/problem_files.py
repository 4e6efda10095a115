"""Reads what the study of a problem leaves: `config.json`, `problem.json`, `results.csv`, `trajectories/`."""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtl.errors import InputError
from mtl.files import RESULT_COLUMNS

Values = dict[tuple[str, str], float]
"""(task, metric) → value at the end of a run."""

ARRAYS = ("scales", "x1", "x2", "mean_loss", "pareto_set", "front")
"""Keys of `problem.json` that hold arrays of numbers."""


class Problem(NamedTuple):
    """The problem of a study.

    Attributes:
      name: its name.
      weightings: the labels of the study's weightings, in declared order.
      reached: the distance to the front below which a run has reached it.
      scales: factors of its losses `[2]`.
      x1: values of the first parameter `[X]`.
      x2: values of the second `[Y]`.
      mean_loss: mean of the losses `[Y, X]`.
      pareto_set: its points `[n, 2]`.
      front: their losses `[n, 2]`.
    """

    name: str
    weightings: tuple[str, ...]
    reached: float
    scales: np.ndarray
    x1: np.ndarray
    x2: np.ndarray
    mean_loss: np.ndarray
    pareto_set: np.ndarray
    front: np.ndarray


class Run(NamedTuple):
    """One run.

    Attributes:
      seed: index of its start.
      points: parameters `[R + 1, 2]`.
      losses: task losses there `[R + 1, 2]`.
      values: end values from `results.csv`; none if the run failed.
    """

    seed: int
    points: np.ndarray
    losses: np.ndarray
    values: Values


class ProblemStudy(NamedTuple):
    """The files of a problem's study in memory.

    Attributes:
      name: name of the study.
      config: the whole of `config.json`.
      problem: the problem.
      runs: label of each finished weighting → its runs, in declared order.
    """

    name: str
    config: dict[str, Any]
    problem: Problem
    runs: dict[str, tuple[Run, ...]]


def read_problem_study(workdir: Path) -> ProblemStudy:
    """Reads and checks the files.

    Args:
      workdir: folder of the study.

    Returns:
      The study, as far as it has come.

    Raises:
      InputError: a file is missing or malformed, or no weighting is finished.
    """
    config = _json(workdir / "config.json")
    problem = _problem(workdir / "problem.json")
    values = _values(workdir / "results.csv")
    found = dict(_trajectories(path, values) for path in sorted((workdir / "trajectories").glob("*.json")))
    runs = {label: found[label] for label in problem.weightings if label in found}
    if not runs:
        raise InputError(f"{workdir} holds no results; the study has not finished a weighting yet")
    return ProblemStudy(str(config.get("config", {}).get("name", workdir.name)), config, problem, runs)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no {path}; run the study first") from None
    except (ValueError, OSError) as e:
        raise InputError(f"{path} cannot be read ({e}); continue the study with --resume") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold a JSON object; continue the study with --resume")
    return content


def _problem(path: Path) -> Problem:
    content = _json(path)
    try:
        arrays = {key: np.asarray(content[key], np.float64) for key in ARRAYS}
        labels = tuple(map(str, content["weightings"]))
        return Problem(str(content["name"]), labels, float(content["reached"]), **arrays)
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(f"{path} is damaged ({e}); continue the study with --resume") from None


def _values(path: Path) -> dict[tuple[str, int], Values]:
    values: dict[tuple[str, int], Values] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if tuple(next(reader, ())) != RESULT_COLUMNS:
                raise InputError(f"{path} line 1: expected the header {','.join(RESULT_COLUMNS)}")
            for cells in reader:
                row = dict(zip(RESULT_COLUMNS, cells, strict=True))
                run = values.setdefault((row["weighting"], int(row["seed"])), {})
                run[row["task"], row["metric"]] = float(row["value"])
    except FileNotFoundError:
        raise InputError(f"there is no {path}; continue the study with --resume") from None
    except ValueError as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path} line {reader.line_num}: {e}; continue the study with --resume") from None
    return values


def _trajectories(path: Path, values: dict[tuple[str, int], Values]) -> tuple[str, tuple[Run, ...]]:
    content = _json(path)
    try:
        label = str(content["weighting"])
        runs = []
        for run in content["runs"]:
            seed = int(run["key"]["seed"])
            points, losses = (np.asarray(run[key], np.float64) for key in ("points", "losses"))
            runs.append(Run(seed, points, losses, values.get((label, seed), {})))
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(f"{path} is damaged ({e}); delete it and continue with --resume") from None
    return label, tuple(runs)
