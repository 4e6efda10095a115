"""The MMoE paper's synthetic regression tasks, whose relatedness is set by a knob."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl.data import arguments
from mtl.data.dataset import Columns, Dataset, Schema
from mtl.errors import InputError
from mtl.tasks import Task

ROUNDING = 1e-9
"""How far a given correlation matrix may be from one by rounding."""


def mmoe_synthetic(
    correlation: float | Sequence[Sequence[float]] = 0.5,
    num_tasks: int = 2,
    dim: int = 100,
    num_train: int = 10_000,
    num_val: int = 2_000,
    num_test: int = 2_000,
    scale: float = 1.0,
    num_sines: int = 10,
    noise_std: float = 0.1,
    label_scales: Sequence[float] | None = None,
    seed: int = 0,
    function_seed: int | None = None,
) -> Dataset:
    """Draws regression tasks whose weight vectors have given cosines.

        x ~ N(0, I_dim),   W = scale · R^(1/2) · U,   U Uᵀ = I,
        y_k = w_kᵀx + Σ_{i=1..m} sin(α_i w_kᵀx + β_i) + ε_k,   ε_k ~ N(0, noise_std²),

    with α_i, β_i ~ N(0, 1) shared by all tasks. The knob is cos(w_i, w_j) = R_ij; the labels' Pearson
    correlation rises with it but is another number, which the provenance reports. Draws of weights,
    sines, inputs and noise come from separate streams, so two sets of the same seed and sizes differ
    only in what their arguments change: the same x, noise, α, β and U at every correlation.

    Args:
      correlation: p in [−1/(T−1), 1] for all pairs of tasks, or a T×T matrix R.
      num_tasks: T >= 1.
      dim: d, the number of inputs; at least T.
      num_train: rows of `train`, at least 2.
      num_val: rows of `val`, at least 2.
      num_test: rows of `test`, at least 2.
      scale: c > 0, the length of every weight vector.
      num_sines: m >= 0; without sines the tasks are linear.
      noise_std: standard deviation of ε, in the labels' units.
      label_scales: s_k > 0, by which task k's labels are multiplied at last: its loss grows as s_k², and
        nothing else changes. None for ones.
      seed: seed of everything random.
      function_seed: seed of U, α and β alone, to draw new rows of one and the same function; None takes
        `seed`, so that every draw is another function.

    Returns:
      A data set with inputs x_1 … x_d (standard normal already) and tasks task_1 … task_T, labels in the
      recipe's own units, where each task has the one before it as parent.

    Raises:
      InputError: an argument is out of range, or the matrix is not a correlation matrix.

    Reference: Ma, Zhao, Yi, Chen, Hong, Chi, "Modeling Task Relationships in Multi-task Learning with
      Multi-gate Mixture-of-Experts", KDD 2018, Section 3.2, for T = 2.

    Departures from the paper: it leaves c, m, α and β open; c = 1, m = 10 and α, β ~ N(0, 1) are those
    of the PLE paper (Tang et al., RecSys 2020). "N(0, 0.01)" of the noise is read as a variance. For
    T = 2 the paper writes w_1 = c·u_1, that is a Cholesky factor of R; the symmetric square root used
    here gives the same distribution, since U is uniform over orthonormal frames, and exists for a
    singular R as well (p = 1).
    """
    num_tasks = arguments.integer("num_tasks", num_tasks, 1)
    dim = arguments.integer("dim", dim, 1)
    if dim < num_tasks:
        raise InputError(f"dim is {dim}, expected at least num_tasks = {num_tasks}")
    sizes = {
        split: arguments.integer(f"num_{split}", rows, 2)
        for split, rows in (("train", num_train), ("val", num_val), ("test", num_test))
    }
    scale = arguments.real("scale", scale, 0.0)
    if scale == 0.0:
        raise InputError("scale is 0, expected a number > 0; labels would not depend on the inputs")
    num_sines = arguments.integer("num_sines", num_sines, 0)
    noise_std = arguments.real("noise_std", noise_std, 0.0)
    seed = arguments.integer("seed", seed, 0)
    cosines = _correlation_matrix(correlation, num_tasks)
    scales = _label_scales(label_scales, num_tasks)

    if function_seed is not None:
        function_seed = arguments.integer("function_seed", function_seed, 0)
    function = seed if function_seed is None else function_seed
    frame_seed, sine_seed = np.random.SeedSequence(function).spawn(2)
    split_seeds = np.random.SeedSequence(seed).spawn(2 + len(sizes))[2:]
    weights = scale * _root(cosines) @ _frame(np.random.default_rng(frame_seed), num_tasks, dim)
    alpha, beta = np.random.default_rng(sine_seed).standard_normal((2, num_sines))
    splits = {
        split: _draw(child, rows, weights, alpha, beta, noise_std)
        for child, (split, rows) in zip(split_seeds, sizes.items())
    }
    for split in splits.values():
        split["labels"] = (split["labels"] * scales).astype(np.float32)
    labels = splits["train"]["labels"].astype(np.float64)
    names = [f"task_{k + 1}" for k in range(num_tasks)]
    return Dataset(
        name="mmoe_synthetic",
        schema=Schema(
            id_columns=(),
            numeric_columns=tuple(f"x_{i + 1}" for i in range(dim)),
            tasks=tuple(
                Task(name, "regression", parents=tuple(names[k - 1 : k])) for k, name in enumerate(names)
            ),
        ),
        splits=splits,
        provenance={
            "source": "generated: the synthetic recipe of Ma et al., KDD 2018, Section 3.2",
            "arguments": {
                "correlation": cosines.tolist(),
                "num_tasks": num_tasks,
                "dim": dim,
                **{f"num_{split}": rows for split, rows in sizes.items()},
                "scale": scale,
                "num_sines": num_sines,
                "noise_std": noise_std,
                "label_scales": scales.tolist(),
                "seed": seed,
                "function_seed": function,
            },
            "alpha": alpha.tolist(),
            "beta": beta.tolist(),
            "weight_cosines": _cosines(weights).tolist(),
            "label_correlation": np.atleast_2d(np.corrcoef(labels, rowvar=False)).tolist(),
            "label_mean": labels.mean(axis=0).tolist(),
            "label_sd": labels.std(axis=0).tolist(),
        },
    )


def _label_scales(label_scales: Any, num_tasks: int) -> np.ndarray:
    if label_scales is None:
        return np.ones(num_tasks)
    try:
        scales = np.array(label_scales, np.float64)
    except (TypeError, ValueError):
        scales = np.zeros(0)
    if scales.shape != (num_tasks,) or not (np.isfinite(scales).all() and (scales > 0).all()):
        raise InputError(f"label_scales is {label_scales!r}, expected {num_tasks} numbers > 0, one per task")
    return scales


def _correlation_matrix(correlation: Any, num_tasks: int) -> np.ndarray:
    if isinstance(correlation, str) or not isinstance(correlation, Sequence | np.ndarray):
        p = arguments.real("correlation", correlation, -1.0, 1.0)
        if num_tasks > 2 and p < -1.0 / (num_tasks - 1):
            raise InputError(
                f"correlation is {p:g}, expected at least -1/(T-1) = {-1.0 / (num_tasks - 1):.6g} "
                f"for T = {num_tasks} tasks that share one correlation"
            )
        return np.full((num_tasks, num_tasks), p) + (1.0 - p) * np.eye(num_tasks)
    try:
        matrix = np.array(correlation, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"correlation is {correlation!r}, expected a number or a square matrix of numbers"
        ) from error
    if matrix.shape != (num_tasks, num_tasks):
        raise InputError(
            f"correlation has shape {matrix.shape}, expected {(num_tasks, num_tasks)} for "
            f"num_tasks = {num_tasks}"
        )
    if not np.all(np.abs(matrix) <= 1.0 + ROUNDING):
        raise InputError("correlation has an entry that is not a number in [-1, 1]")
    if not np.allclose(matrix, matrix.T, rtol=0.0, atol=ROUNDING):
        raise InputError("correlation is not symmetric; entry (i, j) must equal entry (j, i)")
    if not np.allclose(np.diag(matrix), 1.0, rtol=0.0, atol=ROUNDING):
        raise InputError("correlation has a diagonal entry that is not 1")
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest < -ROUNDING * num_tasks:
        raise InputError(
            f"correlation is not positive semi-definite (smallest eigenvalue {smallest:.3g}); no "
            "weight vectors have these cosines"
        )
    return matrix


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root: unlike a Cholesky factor it exists for a singular matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _frame(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Orthonormal rows, uniformly distributed: the signs make the QR factor unique."""
    q, r = np.linalg.qr(rng.standard_normal((dim, rows)))
    return (q * np.sign(np.diag(r))).T


def _draw(
    seed: np.random.SeedSequence,
    rows: int,
    weights: np.ndarray,
    alpha: np.ndarray,
    beta: np.ndarray,
    noise_std: float,
) -> Columns:
    # Two streams: the inputs must not depend on how many tasks draw noise, nor the reverse.
    x_rng, noise_rng = map(np.random.default_rng, seed.spawn(2))
    # Rounded to float32 before the labels are made, so that they belong to the inputs as stored.
    x = x_rng.standard_normal((rows, weights.shape[1])).astype(np.float32)
    z = x.astype(np.float64) @ weights.T
    labels = z + noise_std * noise_rng.standard_normal(z.shape)
    for a, b in zip(alpha, beta):
        labels += np.sin(a * z + b)
    return {
        "ids": np.zeros((rows, 0), np.int32),
        "numeric": x,
        "labels": labels.astype(np.float32),
    }


def _cosines(weights: np.ndarray) -> np.ndarray:
    directions = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return np.clip(directions @ directions.T, -1.0, 1.0)
