"""Reads what a study leaves in its workdir: `config.json`, `results.csv`, `metrics.jsonl`."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtl.errors import InputError
from mtl.files import RESULT_COLUMNS
from mtl.tasks import KINDS, Task


class Group(NamedTuple):
    """Runs that may be compared: one data set, one point of the hyper-parameter grid.

    Attributes:
      dataset: name of the data set.
      hparams: `key=value;key=value`, may be empty.
    """

    dataset: str
    hparams: str


class Method(NamedTuple):
    """What is compared.

    Attributes:
      model: preset name.
      weighting: weighting name.
    """

    model: str
    weighting: str


class Place(NamedTuple):
    """A place in a method's result table; it holds one value per seed.

    Attributes:
      split: `val` or `test`.
      task: task name.
      metric: metric name.
    """

    split: str
    task: str
    metric: str


Seeds = dict[int, float]
"""Seed → value; a missing value is NaN."""

Table = dict[Method, dict[Place, Seeds]]
"""The results of one group."""


class Record(NamedTuple):
    """One line of `metrics.jsonl`.

    Attributes:
      group: data set and hyper-parameters.
      method: model and weighting.
      seed: seed of the run.
      step: training step.
      kind: `train`, `val` or `gates`.
      content: the whole object of the line.
    """

    group: Group
    method: Method
    seed: int
    step: int
    kind: str
    content: dict[str, Any]


class Study(NamedTuple):
    """A study's result files in memory.

    Attributes:
      name: name of the study.
      config: the whole of `config.json`.
      tasks: the tasks, in declared order.
      baseline: model name of the single-task baseline; empty for none.
      reference: name of the published table to compare with; empty for none.
      tables: the results of each group.
      records: the lines of `metrics.jsonl`.
    """

    name: str
    config: dict[str, Any]
    tasks: tuple[Task, ...]
    baseline: str
    reference: str
    tables: dict[Group, Table]
    records: tuple[Record, ...]


def read_study(workdir: str | Path) -> Study:
    """Reads and checks the three result files.

    Args:
      workdir: folder of the study.

    Returns:
      The study.

    Raises:
      InputError: a file is missing or malformed; the message names the file and the line.
    """
    folder = Path(workdir)
    config = _read_config(folder / "config.json")
    report = config["config"].get("report") or {}
    tasks = tuple(
        Task(t["name"], t["kind"], t.get("num_classes") or 2, tuple(t.get("parents") or ()))
        for t in config["tasks"]
    )
    names = {task.name for task in tasks}
    return Study(
        name=str(config["config"].get("name", folder.name)),
        config=config,
        tasks=tasks,
        baseline=str(report.get("baseline") or ""),
        reference=str(report.get("reference") or ""),
        tables=_read_results(folder / "results.csv", names),
        records=tuple(_read_records(folder / "metrics.jsonl", names)),
    )


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from file
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing; give the --workdir of a study that has run, or run it first"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; restore the file or rerun the study") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads("".join(_lines(path)))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno}: not JSON ({error.msg}); rerun") from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise InputError(f"{path}: expected an object with the keys config, provenance and tasks")
    tasks = config.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise InputError(f"{path}: tasks is missing or empty; expected a list of tasks")
    for t in tasks:
        if not isinstance(t, dict) or "name" not in t or t.get("kind") not in KINDS:
            raise InputError(f"{path}: task {json.dumps(t)} needs a name and a kind of {', '.join(KINDS)}")
    return config


def _read_results(path: Path, tasks: set[str]) -> dict[Group, Table]:
    reader = csv.reader(_lines(path))
    if tuple(next(reader, ())) != RESULT_COLUMNS:
        raise InputError(f"{path} line 1: expected the header {','.join(RESULT_COLUMNS)}")
    tables: dict[Group, Table] = {}
    for cells in reader:
        where = f"{path} line {reader.line_num}"
        if len(cells) != len(RESULT_COLUMNS):
            raise InputError(
                f"{where}: {len(cells)} cells, expected {len(RESULT_COLUMNS)}; the file was cut or edited, "
                "continue the study with --resume"
            )
        row = dict(zip(RESULT_COLUMNS, cells))
        if row["split"] not in ("val", "test"):
            raise InputError(f"{where}: split {row['split']!r}, expected 'val' or 'test'")
        if row["task"] not in tasks:
            raise InputError(f"{where}: task {row['task']!r} is not among those of config.json")
        if not row["seed"].isdecimal():
            raise InputError(f"{where}: seed is {row['seed']!r}, expected a whole number")
        seed, value = int(row["seed"]), _number(where, "value", row["value"] or "nan")
        group, method = Group(row["dataset"], row["hparams"]), Method(row["model"], row["weighting"])
        place = Place(row["split"], row["task"], row["metric"])
        seeds = tables.setdefault(group, {}).setdefault(method, {}).setdefault(place, {})
        if seed in seeds:
            raise InputError(f"{where}: second value for the same run, split, task and metric")
        seeds[seed] = value
    if not tables:
        raise InputError(f"{path} holds no results; the study has not finished a run yet")
    return tables


def _number(where: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{where}: {name} is {text!r}, expected a number") from error


def _read_records(path: Path, tasks: set[str]) -> Iterator[Record]:
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path} line {number}"
        try:
            content = json.loads(line)
            record = Record(
                Group(content["dataset"], content["hparams"]),
                Method(content["model"], content["weighting"]),
                int(content["seed"]),
                int(content["step"]),
                content["kind"],
                content,
            )
        except json.JSONDecodeError as error:
            raise InputError(
                f"{where}: not a JSON object ({error.msg}); continue the study with --resume"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: a key is missing or of the wrong type ({error})") from error
        _check_content(where, record, tasks)
        yield record


PARTS = {"train": ("loss", "weight"), "val": ("metrics",), "gates": ("gates",)}
"""The objects that a record of each kind must hold."""


def _check_content(where: str, record: Record, tasks: set[str]) -> None:
    if record.kind not in PARTS:
        raise InputError(f"{where}: kind {record.kind!r}, expected one of {', '.join(PARTS)}")
    for part in PARTS[record.kind]:
        found = record.content.get(part)
        if not isinstance(found, dict):
            raise InputError(f"{where}: {part!r} is missing or not an object")
        strange = set(found) - tasks if part != "gates" else set()
        if strange:
            raise InputError(f"{where}: task {min(strange)!r} is not among those of config.json")
        if record.kind == "train" and not all(_is_value(v) for v in found.values()):
            raise InputError(f"{where}: {part!r} must hold one number or null per task")
    if record.kind == "gates":
        for name, gate in record.content["gates"].items():
            _check_gate(where, name, gate)
    if record.kind == "val":
        for name, gate in record.content.get("gates", {}).items():
            if not isinstance(gate, dict) or not all(map(_is_value, gate.get("entropy") or [""])):
                raise InputError(f"{where}: gate {name!r} needs entropy, a number per task or one for all")


def _is_value(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _check_gate(where: str, name: str, gate: Any) -> None:
    try:
        mean = np.asarray(gate["utilisation"], np.float64)
        fits = mean.ndim == 2 and mean.shape == np.shape(gate["utilisation_sd"])
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise InputError(
            f"{where}: gate {name!r} needs utilisation and utilisation_sd, both [tasks][experts]"
        )


def number(value: float | None) -> float:
    """Reads a JSON number in which null stands for a missing value.

    Args:
      value: a number or None.

    Returns:
      The number, or NaN.
    """
    return math.nan if value is None else float(value)
