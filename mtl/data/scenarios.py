"""Scenarios with a similarity knob: domains that share a function to a known degree."""

import math
from typing import Any, NamedTuple

import numpy as np
import scipy

from mtl.data import arguments
from mtl.data.dataset import SPLITS, Columns, Dataset, IdColumn, Schema
from mtl.errors import InputError
from mtl.tasks import Task

TASKS = ("click", "like")
CALIBRATION_ROWS = 20_000
"""Rows per scenario on which intercepts are found."""


class _World(NamedTuple):
    """What is drawn once.

    Attributes:
      weights: directions `[S, T, dim]` of the common features.
      own: directions `[S, T, own_dim]` of a scenario's own features.
      sines: amplitudes and phases `[2, m]`.
      offset: means of the common features `[S, dim]`.
      stretch: their standard deviations `[S, dim]`.
      centre: means of the scores `[S, T]`.
      scale: what scores are multiplied by `[S, T]`.
      intercepts: `[S, T]`.
    """

    weights: np.ndarray
    own: np.ndarray
    sines: np.ndarray
    offset: np.ndarray
    stretch: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    intercepts: np.ndarray


def scenario_synthetic(
    similarity: float = 0.5,
    num_scenarios: int = 4,
    imbalance: float = 2.0,
    base_rates: tuple[float, ...] = (0.3, 0.15),
    correlation: float = 0.5,
    shift: float = 0.5,
    dim: int = 20,
    own_dim: int = 2,
    num_sines: int = 4,
    strength: float = 2.0,
    num_train: int = 20_000,
    num_val: int = 10_000,
    num_test: int = 20_000,
    seed: int = 0,
    world_seed: int | None = None,
) -> Dataset:
    """Draws two binary tasks in S scenarios, whose functions resemble each other as much as asked.

        z_st = w_stᵀ x + Σ_{i=1..m} sin(α_i w_stᵀ x + β_i) + o_stᵀ x_s,   P(y_t = 1 | x, s) = σ(c_st + a
        z̃_st) w_st = √q v_t + √(1 − q) u_st,   v, u unit vectors, all orthogonal but cos(v_1, v_2) =
        cos(u_s1, u_s2) = ρ

    q is `similarity`: the cosine of two scenarios' directions of one task is q; at 1 all scenarios have one
    function of the common features x, at 0 unrelated ones. x_s are features of scenario s alone, 0 in the
    others. z̃ is z at mean 0 and standard deviation 1 over the scenario's rows, and a is `strength`. Common
    features have another mean and spread in every scenario, as far as `shift` says, so that one
    normalisation does not suit all. Scenario s has `imbalance` times as many rows as scenario s + 1, and
    base rates that differ by scenario.

    Args:
      similarity: q in [0, 1].
      num_scenarios: S >= 1; the column `scenario` has ids 1 … S, id 0 is unseen.
      imbalance: >= 1.
      base_rates: mean of P(y_t = 1) for both tasks, in (0, 1), in scenario 1; the odds of scenario s are
        1.5^(1 − s) times those of scenario 1.
      correlation: ρ in [−1, 1], of the two tasks in every scenario.
      shift: >= 0, standard deviation of the features' means over scenarios, and of the log of their spreads.
      dim: number of common features, at least 2 (S + 1).
      own_dim: number of features of each scenario alone.
      num_sines: m >= 0.
      strength: a > 0.
      num_train: rows of `train`, at least 2.
      num_val: rows of `val`, at least 2.
      num_test: rows of `test`, at least 2.
      seed: seed of everything random.
      world_seed: seed of directions, sines, shifts and intercepts alone, to draw new rows of one and the
        same world; None takes `seed`.

    Returns:
      A data set with the id column `scenario` (role `domain`), `dim` + S·`own_dim` numeric features and the
      tasks `click` and `like`; `val` and `test` have the true probabilities.

    Raises:
      InputError: an argument is out of range.

    Reference: this project's own recipe, in the manner of Ma et al., MMoE, KDD 2018, Section 3.2.
    """
    knobs = {
        "similarity": arguments.real("similarity", similarity, 0.0, 1.0),
        "imbalance": arguments.real("imbalance", imbalance, 1.0),
        "correlation": arguments.real("correlation", correlation, -1.0, 1.0),
        "shift": arguments.real("shift", shift, 0.0),
        "strength": arguments.real("strength", strength, 0.0),
    }
    counts = {
        "num_scenarios": arguments.integer("num_scenarios", num_scenarios, 1),
        "dim": arguments.integer("dim", dim, 2),
        "own_dim": arguments.integer("own_dim", own_dim, 0),
        "num_sines": arguments.integer("num_sines", num_sines, 0),
    }
    if counts["dim"] < 2 * (counts["num_scenarios"] + 1):
        least = 2 * (counts["num_scenarios"] + 1)
        raise InputError(f"dim is {dim}, expected at least {least} for {counts['num_scenarios']} scenarios")
    rates = _base_rates(base_rates)
    sizes = {
        split: arguments.integer(f"num_{split}", rows, 2)
        for split, rows in zip(SPLITS, (num_train, num_val, num_test))
    }
    seed = arguments.integer("seed", seed, 0)
    world_seed = seed if world_seed is None else arguments.integer("world_seed", world_seed, 0)

    world = _world(np.random.SeedSequence(world_seed), counts, rates, knobs)
    children = np.random.SeedSequence(seed).spawn(1 + len(SPLITS))[1:]
    splits = {split: _draw(child, sizes[split], world, knobs) for split, child in zip(SPLITS, children)}
    del splits["train"]["truth"]
    scenarios = range(1, counts["num_scenarios"] + 1)
    numeric = [f"x_{i + 1}" for i in range(counts["dim"])]
    numeric += [f"scenario_{s}_x_{i + 1}" for s in scenarios for i in range(counts["own_dim"])]
    return Dataset(
        name="scenario_synthetic",
        schema=Schema(
            id_columns=(IdColumn("scenario", counts["num_scenarios"] + 1, "domain"),),
            numeric_columns=tuple(numeric),
            tasks=(Task("click"), Task("like", parents=("click",))),
        ),
        splits=splits,
        provenance={
            "source": "generated: scenarios with a similarity knob, this project's own recipe",
            "arguments": {
                **knobs,
                **counts,
                "base_rates": list(rates),
                **{f"num_{split}": rows for split, rows in sizes.items()},
                "seed": seed,
                "world_seed": world_seed,
            },
            "rows_by_scenario": {
                split: np.bincount(columns["ids"][:, 0], minlength=len(scenarios) + 1)[1:].tolist()
                for split, columns in splits.items()
            },
            "label_rates": {
                split: dict(zip(TASKS, columns["labels"].mean(axis=0, dtype=np.float64).tolist()))
                for split, columns in splits.items()
            },
            "weight_cosines": _cosines(world.weights).tolist(),
        },
    )


def _base_rates(given: Any) -> tuple[float, ...]:
    try:
        rates = tuple(float(rate) for rate in given)
    except (TypeError, ValueError):
        rates = ()
    if len(rates) != len(TASKS) or not all(0 < rate < 1 for rate in rates):
        raise InputError(f"base_rates is {given!r}, expected {len(TASKS)} numbers between 0 and 1, by task")
    return rates


def _world(
    seed: np.random.SeedSequence, counts: dict[str, int], rates: tuple[float, ...], knobs: dict[str, float]
) -> _World:
    frame_seed, own_seed, sine_seed, shift_seed, row_seed = seed.spawn(5)
    domains, dim, own_dim = counts["num_scenarios"], counts["dim"], counts["own_dim"]
    q, rho = knobs["similarity"], knobs["correlation"]
    mix = np.array([[1.0, 0.0], [rho, math.sqrt(1 - rho**2)]])
    frame = np.linalg.qr(np.random.default_rng(frame_seed).standard_normal((dim, 2 * (domains + 1))))[0].T
    shared, *apart = (mix @ pair for pair in frame.reshape(domains + 1, 2, dim))
    weights = math.sqrt(q) * shared + math.sqrt(1 - q) * np.stack(apart)
    own_rng = np.random.default_rng(own_seed)
    own = 0.5 * own_rng.standard_normal((domains, 2, own_dim)) / math.sqrt(max(own_dim, 1))
    shift_rng = np.random.default_rng(shift_seed)
    world = _World(
        weights,
        own,
        np.random.default_rng(sine_seed).standard_normal((2, counts["num_sines"])),
        knobs["shift"] * shift_rng.standard_normal((domains, dim)),
        np.exp(knobs["shift"] * shift_rng.standard_normal((domains, dim))),
        np.zeros((domains, 2)),
        np.ones((domains, 2)),
        np.zeros((domains, 2)),
    )
    for s, child in enumerate(row_seed.spawn(domains)):
        scores = _rows(child, np.full(CALIBRATION_ROWS, s), world)[1]
        world.centre[s] = scores.mean(axis=0)
        world.scale[s] = knobs["strength"] / scores.std(axis=0)
        standard = (scores - world.centre[s]) * world.scale[s]
        odds = [rate / (1 - rate) * 1.5**-s for rate in rates]
        world.intercepts[s] = [_intercept(score, o / (1 + o)) for score, o in zip(standard.T, odds)]
    return world


def _intercept(score: np.ndarray, target: float) -> float:
    """The c at which the mean of σ(c + score) is the target."""
    return float(scipy.optimize.brentq(lambda c: scipy.special.expit(c + score).mean() - target, -60.0, 60.0))


def _rows(seed: np.random.SeedSequence, domain: np.ndarray, world: _World) -> tuple[np.ndarray, np.ndarray]:
    """Numeric features and scores `[rows, T]`, standardised and without intercepts."""
    rng = np.random.default_rng(seed)
    domains, _, own_dim = world.own.shape
    z = rng.standard_normal((len(domain), world.weights.shape[2]))
    # Rounded to float32 before the labels are drawn, so that they belong to the features as stored.
    x = (world.offset[domain] + world.stretch[domain] * z).astype(np.float32)
    own = rng.standard_normal((len(domain), own_dim)).astype(np.float32)
    places = np.zeros((len(domain), domains, own_dim), np.float32)
    places[np.arange(len(domain)), domain] = own
    # The function reads features at the scenario's own scale, which a normalisation per scenario finds.
    standard = (x.astype(np.float64) - world.offset[domain]) / world.stretch[domain]
    linear = np.einsum("ntd,nd->nt", world.weights[domain], standard)
    scores = linear + np.einsum("ntd,nd->nt", world.own[domain], own.astype(np.float64))
    for a, b in world.sines.T:
        scores += np.sin(a * linear + b)
    scores = (scores - world.centre[domain]) * world.scale[domain]
    return np.concatenate([x, places.reshape(len(domain), -1)], axis=1), scores


def _draw(seed: np.random.SeedSequence, rows: int, world: _World, knobs: dict[str, float]) -> Columns:
    domain_seed, row_seed, event_seed = seed.spawn(3)
    shares = knobs["imbalance"] ** -np.arange(len(world.own), dtype=np.float64)
    domain = np.random.default_rng(domain_seed).choice(len(world.own), rows, p=shares / shares.sum())
    numeric, scores = _rows(row_seed, domain, world)
    rates = scipy.special.expit(scores + world.intercepts[domain])
    return {
        "ids": (domain[:, None] + 1).astype(np.int32),
        "numeric": numeric,
        "labels": (np.random.default_rng(event_seed).random(rates.shape) < rates).astype(np.float32),
        "truth": rates.astype(np.float32),
    }


def _cosines(weights: np.ndarray) -> np.ndarray:
    """Cosines of the scenarios' directions `[T, S, S]`."""
    directions = weights / np.linalg.norm(weights, axis=-1, keepdims=True)
    return np.einsum("std,utd->tsu", directions, directions)
