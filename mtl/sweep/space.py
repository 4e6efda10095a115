"""What a search varies: the section `search` of `config.sweep`, checked, as ranges of numbered parameters."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mtl.errors import InputError, unknown_name

DEFAULTS: dict[str, Any] = {
    "train": {},
    "dataset": {},
    "models": {},
    "weightings": {},
    "trials": 32,
    "batch": 8,
    "seeds": 1,
    "objective": "select",
    "sampler": "tpe",
    "pruner": "none",
    "storage": "",
}
"""Keys of `config.sweep.search`; the first four hold ranges."""

CHOICES = {
    "objective": ("select", "tasks"),
    "sampler": ("tpe", "random"),
    "pruner": ("none", "median", "halving"),
}

RANGES = {
    "uniform": ("a lowest and a highest number", 2),
    "log": ("a lowest and a highest number above 0", 2),
    "int": ("a lowest and a highest integer", 2),
    "choice": ("the values", None),
    "simplex": ("weights of at least two tasks, and nothing", 0),
}


class Part(NamedTuple):
    """One number, or one choice, that a trial draws.

    Attributes:
      name: unique in the search of a method.
      kind: `uniform`, `log`, `int` or `choice`.
      values: the ends of the range, or the choices.
    """

    name: str
    kind: str
    values: tuple[Any, ...]


class Axis(NamedTuple):
    """An argument that is searched.

    Attributes:
      section: `train`, `dataset`, `model` or `weighting`.
      key: the argument.
      parts: what a trial draws for it.
      decode: makes the argument's value from the parts' values.
    """

    section: str
    key: str
    parts: tuple[Part, ...]
    decode: Callable[[Sequence[Any]], Any]


def check_space(
    search: Mapping[str, Any], models: Sequence[str], weightings: Sequence[str]
) -> dict[str, Any]:
    """Checks everything about a search but the values of arguments.

    Args:
      search: the section as the study has it.
      models: labels of the study's models.
      weightings: labels of its weightings.

    Returns:
      The section with its defaults.

    Raises:
      InputError: a key, a range or a count makes no sense.
    """
    for key in search:
        if key not in DEFAULTS:
            raise unknown_name("key in config.sweep.search:", key, DEFAULTS)
    full = {**DEFAULTS, **search}
    for key in ("trials", "batch", "seeds"):
        value = full[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"config.sweep.search.{key} is {value!r}, expected a count of at least 1")
    for key, known in CHOICES.items():
        if full[key] not in known:
            raise unknown_name(f"config.sweep.search.{key}", full[key], known)
    if full["objective"] == "tasks" and full["pruner"] != "none":
        raise InputError(
            f"config.sweep.search.pruner is {full['pruner']!r}, but with objective 'tasks' there is no one "
            "value to prune by; set it to 'none'"
        )
    if full["pruner"] != "none" and full["seeds"] > 1:
        raise InputError(
            f"config.sweep.search.seeds is {full['seeds']}, but a pruner judges single runs; set it to 1, or "
            "pruner to 'none'"
        )
    if not isinstance(full["storage"], str):
        raise InputError(
            f"config.sweep.search.storage is {full['storage']!r}, expected the URL of a database"
        )
    for section, labels in (("models", models), ("weightings", weightings)):
        _mapping(section, full[section])
        for label in full[section]:
            if label not in labels:
                raise unknown_name(f"name in config.sweep.search.{section}:", label, labels)
            _mapping(f"{section}.{label}", full[section][label])
    for section in ("train", "dataset"):
        _mapping(section, full[section])
    for key in ("dtype", "seed", "resample", "name", "select"):
        if key in full["train"] or key in full["dataset"]:
            raise InputError(f"config.sweep.search: {key!r} cannot be searched; set it for the whole study")
    return full


def axes(search: Mapping[str, Any], model: str, weighting: str | None, num_tasks: int) -> tuple[Axis, ...]:
    """What the trials of one method draw.

    Args:
      search: the checked section.
      model: the model's label.
      weighting: the weighting's label; None where tasks share nothing and nothing is weighted.
      num_tasks: T, the size of a simplex.

    Returns:
      One axis per argument.

    Raises:
      InputError: a range makes no sense, or the method has none.
    """
    sections = (
        ("train", "train", search["train"]),
        ("dataset", "dataset", search["dataset"]),
        ("model", f"models.{model}", search["models"].get(model, {})),
        ("weighting", f"weightings.{weighting}", search["weightings"].get(weighting, {})),
    )
    found = tuple(
        _axis(section, f"config.sweep.search.{place}.{key}", key, value, num_tasks)
        for section, place, ranges in sections
        for key, value in ranges.items()
    )
    if not found:
        raise InputError(
            f"config.sweep.search has no range for {model} x {weighting or 'static'}; give one that all "
            "methods take, such as train={'learning_rate': ('log', 1e-4, 1e-1)}"
        )
    return found


def _mapping(place: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise InputError(f"config.sweep.search.{place} is {value!r}, expected a mapping from names to ranges")


def _axis(section: str, place: str, key: str, value: Any, num_tasks: int) -> Axis:
    """Reads one range, such as `("log", 1e-4, 1e-1)`."""
    if not isinstance(value, list | tuple) or not value or value[0] not in RANGES:
        known = ", ".join(f"({kind!r}, …)" for kind in RANGES)
        raise InputError(f"{place} is {value!r}, expected one of {known}")
    kind, *rest = value
    expected, count = RANGES[kind]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in rest)
    good = len(rest) == count if count is not None else len(rest) > 0
    if good and count == 2:
        good = numbers and rest[0] < rest[1] and (kind != "log" or rest[0] > 0)
        good = good and (kind != "int" or all(isinstance(v, int) for v in rest))
    if kind == "simplex":
        good = good and section == "weighting" and num_tasks > 1
    if not good:
        raise InputError(f"{place} is {value!r}, expected {expected} after {kind!r}")
    name = f"{section}.{key}"
    if kind == "simplex":
        parts = tuple(Part(f"{name}.{i}", "uniform", (0.0, 1.0)) for i in range(num_tasks - 1))
        return Axis(section, key, parts, simplex_point)
    if kind == "choice":
        # Optuna stores numbers and words; a choice of tuples is stored by its position.
        return Axis(section, key, (Part(name, "choice", tuple(range(len(rest)))),), lambda v: rest[v[0]])
    return Axis(section, key, (Part(name, kind, tuple(rest)),), lambda v: v[0])


def simplex_point(u: Sequence[float]) -> tuple[float, ...]:
    """Maps the cube to the simplex so that uniform points become uniform points (stick breaking).

        w_k = (1 − u_k^(1 / (T − k))) · (1 − w_1 − … − w_{k−1}),   k = 1 … T − 1

    Args:
      u: T − 1 numbers in [0, 1].

    Returns:
      T weights ≥ 0 with sum 1.
    """
    left, weights = 1.0, []
    for k, value in enumerate(u, start=1):
        weights.append(left * (1.0 - value ** (1.0 / (len(u) + 1 - k))))
        left -= weights[-1]
    return (*weights, max(left, 0.0))


def decode(found: Sequence[Axis], drawn: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Turns what a trial has drawn into arguments.

    Args:
      found: the axes of its method.
      drawn: part's name → value.

    Returns:
      Section → argument → value.
    """
    values: dict[str, dict[str, Any]] = {"train": {}, "dataset": {}, "model": {}, "weighting": {}}
    for axis in found:
        values[axis.section][axis.key] = axis.decode([drawn[part.name] for part in axis.parts])
    return values


def corners(found: Sequence[Axis]) -> list[dict[str, Any]]:
    """Draws that between them have both ends of every range and every choice, to be checked beforehand.

    Args:
      found: the axes of a method.

    Returns:
      Draws, each part's name → value.
    """
    parts = [part for axis in found for part in axis.parts]
    count = max(len(part.values) for part in parts)
    return [{part.name: part.values[i % len(part.values)] for part in parts} for i in range(count)]
