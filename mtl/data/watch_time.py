"""Clicks and play times of videos, with known expectations: the ground truth of watch-time losses."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy

from mtl.data import arguments
from mtl.data.dataset import Columns, Dataset, Schema
from mtl.errors import InputError, unknown_name
from mtl.tasks import Task

COMPLETED = 0.8
"""Share of its length from which on a video counts as completed."""

LENGTH_SD = 0.7
"""Standard deviation of the logarithm of a video's length; its median is one minute."""

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("click"),
        Task("watch_time", "regression", parents=("click",)),
        Task("play_time", "regression", parents=("click",)),
        Task("play_ratio", "regression", parents=("click",), loss="soft_cross_entropy"),
        Task("completed", parents=("click",), requires=("click",)),
    )
}
"""The tasks that there are, in the order of their columns."""


def watch_time(
    tasks: Sequence[str] = ("click", "watch_time", "play_time"),
    dim: int = 10,
    num_train: int = 10_000,
    num_val: int = 2_000,
    num_test: int = 4_000,
    click_rate: float = 0.3,
    family: str = "lognormal",
    spread: float = 1.0,
    signal: float = 0.7,
    seed: int = 0,
    function_seed: int | None = None,
) -> Dataset:
    """Draws impressions of videos that may be clicked and are then played for some minutes.

        x ~ N(0, I_dim),  log length = 0.7 ℓ,  ℓ ~ N(0, 1)
        P(click | x) = σ(b + vᵀx),  b such that the mean is `click_rate`
        μ(x) = exp(s (w₁ᵀx + sin(2 w₂ᵀx)) / √1.5 + 0.35 ℓ)
        t ~ μ(x) · (a positive variable of mean 1 and standard deviation `spread`),  0 without a click

    with unit vectors v, w₁, w₂. Play times grow as the square root of the length, so the share that is played
    falls with it. Tasks: `click`; `watch_time`, t of every impression, 0 without a click; on clicked rows
    `play_time` (t) and `play_ratio` (min(t / length, 1)); and `completed`, a click after which more than 80 %
    are played. In `val` and `test` the expectation of each given x is known (`truth`), that of the last three
    given a click as well.

    Args:
      tasks: names of the tasks, in this order; `click` has to be one of them.
      dim: number of x; at least 1.
      num_train: rows of `train`, at least 2.
      num_val: rows of `val`, at least 2.
      num_test: rows of `test`, at least 2.
      click_rate: in (0, 1]; at 1 every row is clicked.
      family: `lognormal` or `gamma`, of play times given x.
      spread: standard deviation over mean of play times given x; 0 makes them constant.
      signal: s ≥ 0, about the standard deviation of log μ(x) through x.
      seed: of everything random.
      function_seed: of v, w₁ and w₂ alone; None takes `seed`.

    Returns:
      A data set with inputs x_1 … x_d and ℓ; times are in minutes.

    Raises:
      InputError: an argument is out of range.
    """
    chosen = _tasks(tasks)
    dim = arguments.integer("dim", dim, 1)
    sizes = {
        split: arguments.integer(f"num_{split}", rows, 2)
        for split, rows in (("train", num_train), ("val", num_val), ("test", num_test))
    }
    if arguments.real("click_rate", click_rate, 0.0, 1.0) == 0.0:
        raise InputError("click_rate is 0, expected a number in (0, 1]")
    recipe = _Recipe(
        tasks=chosen,
        click_rate=click_rate,
        family=arguments.choice("family", family, ("lognormal", "gamma")),
        spread=arguments.real("spread", spread, 0.0),
        signal=arguments.real("signal", signal, 0.0),
    )
    seed = arguments.integer("seed", seed, 0)
    function = seed if function_seed is None else arguments.integer("function_seed", function_seed, 0)
    vectors = np.random.default_rng([function, 1]).standard_normal((3, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    splits = {
        split: _draw(child, rows, recipe, vectors)
        for child, (split, rows) in zip(np.random.SeedSequence(seed).spawn(3), sizes.items())
    }
    del splits["train"]["truth"]
    labels, mask = splits["train"]["labels"].astype(np.float64), splits["train"]["mask"]
    for split, columns in splits.items():
        for t, name in enumerate(chosen):
            if not columns["mask"][:, t].any():
                raise InputError(
                    f"{split} has no click, so {name!r} has no row; raise click_rate or num_{split}"
                )
    return Dataset(
        name="watch_time",
        schema=Schema(
            id_columns=(),
            numeric_columns=(*(f"x_{i + 1}" for i in range(dim)), "length"),
            tasks=tuple(TASKS[name] for name in chosen),
        ),
        splits=splits,
        provenance={
            "source": "generated: clicks and play times with known expectations",
            "arguments": {
                "tasks": list(chosen),
                "dim": dim,
                **{f"num_{split}": rows for split, rows in sizes.items()},
                "click_rate": click_rate,
                "family": recipe.family,
                "spread": recipe.spread,
                "signal": recipe.signal,
                "seed": seed,
                "function_seed": function,
            },
            "label_mean": {name: float(labels[mask[:, t], t].mean()) for t, name in enumerate(chosen)},
        },
    )


class _Recipe(NamedTuple):
    """Arguments of the draw of a split; see `watch_time`."""

    tasks: tuple[str, ...]
    click_rate: float
    family: str
    spread: float
    signal: float


def _tasks(tasks: Any) -> tuple[str, ...]:
    if isinstance(tasks, str) or not isinstance(tasks, Sequence) or "click" not in tasks:
        raise InputError(f"tasks is {tasks!r}, expected a tuple of names with 'click' among them")
    for name in tasks:
        if name not in TASKS:
            raise unknown_name("task", name, TASKS)
    return tuple(tasks)


def _draw(seed: np.random.SeedSequence, rows: int, recipe: _Recipe, vectors: np.ndarray) -> Columns:
    # A stream for each: none of them changes with the arguments that only others use.
    x_rng, click_rng, time_rng = map(np.random.default_rng, seed.spawn(3))
    # Rounded to float32 first, so that labels and truth belong to the inputs as stored.
    numeric = x_rng.standard_normal((rows, vectors.shape[1] + 1)).astype(np.float32)
    x, length = numeric[:, :-1].astype(np.float64), numeric[:, -1].astype(np.float64)
    v, w1, w2 = (x @ vector for vector in vectors)
    rate = recipe.click_rate
    chance = scipy.special.expit(_intercept(rate) + v) if rate < 1 else np.ones(rows)
    mean = np.exp(recipe.signal * (w1 + np.sin(2 * w2)) / np.sqrt(1.5) + 0.5 * LENGTH_SD * length)
    clicked = click_rng.random(rows) < chance
    minutes = mean * _factor(time_rng, rows, recipe)
    limit = np.exp(LENGTH_SD * length)
    values = {
        "click": (clicked, chance),
        "watch_time": (np.where(clicked, minutes, 0.0), chance * mean),
        "play_time": (minutes, mean),
        "play_ratio": (np.minimum(minutes / limit, 1.0), _limited_mean(mean, limit, recipe) / limit),
        "completed": (clicked & (minutes > COMPLETED * limit), _beyond(mean, COMPLETED * limit, recipe)),
    }
    always = np.ones(rows, bool)
    spaces = {name: clicked if name in ("play_time", "play_ratio") else always for name in TASKS}
    return {
        "ids": np.zeros((rows, 0), np.int32),
        "numeric": numeric,
        "labels": np.stack([values[t][0] for t in recipe.tasks], axis=1).astype(np.float32),
        "mask": np.stack([spaces[t] for t in recipe.tasks], axis=1),
        "truth": np.stack([values[t][1] for t in recipe.tasks], axis=1).astype(np.float32),
    }


def _intercept(rate: float) -> float:
    """b such that σ(b + u) has the mean `rate` over u ~ N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()

    def excess(b):
        return weights @ scipy.special.expit(b + nodes) - rate

    return float(scipy.optimize.brentq(excess, -60.0, 60.0))


def _factor(rng: np.random.Generator, rows: int, recipe: _Recipe) -> np.ndarray:
    """A positive variable of mean 1 and standard deviation `spread`."""
    if recipe.spread == 0:
        return np.ones(rows)
    if recipe.family == "gamma":
        shape = recipe.spread**-2
        return rng.gamma(shape, 1 / shape, rows)
    sd = _log_sd(recipe)
    return np.exp(sd * rng.standard_normal(rows) - 0.5 * sd**2)


def _log_sd(recipe: _Recipe) -> float:
    return float(np.sqrt(np.log1p(recipe.spread**2)))


def _beyond(mean: np.ndarray, limit: np.ndarray, recipe: _Recipe) -> np.ndarray:
    """P(t > limit) given a click."""
    if recipe.spread == 0:
        return (mean > limit).astype(np.float64)
    if recipe.family == "gamma":
        shape = recipe.spread**-2
        return scipy.special.gammaincc(shape, shape * limit / mean)
    sd = _log_sd(recipe)
    return scipy.special.ndtr(np.log(mean / limit) / sd - 0.5 * sd)


def _limited_mean(mean: np.ndarray, limit: np.ndarray, recipe: _Recipe) -> np.ndarray:
    """E[min(t, limit)] given a click."""
    if recipe.spread == 0:
        return np.minimum(mean, limit)
    beyond = limit * _beyond(mean, limit, recipe)
    if recipe.family == "gamma":
        shape = recipe.spread**-2
        return mean * scipy.special.gammainc(shape + 1, shape * limit / mean) + beyond
    sd = _log_sd(recipe)
    return mean * scipy.special.ndtr(-np.log(mean / limit) / sd - 0.5 * sd) + beyond
