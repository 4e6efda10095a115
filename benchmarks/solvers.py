"""What a solver alone costs, and how exact it is: time of one call, worst residual over 1,000 random cases.

    python -m benchmarks.solvers                  # tables on stdout, about two minutes on 2 cores
    python -m benchmarks.solvers --json=out.json

One call is one jitted solve of one Gramian in float32, with what calling a compiled program costs. Cases are
the five kinds of the tests – full rank, low rank, ill-conditioned, uneven scales, opposed rows – and
`typical`, the Gramian of T Gaussian gradients of 1,000 parameters. The solvers take turns, round after
round; minimum, median and maximum are over rounds and kinds. The target, 100 µs at T = 8 for the simplex QP,
the cone QP and Nash, is held against the median over rounds of the slowest kind.

Nash and FairGrad have no solution at Pareto-stationary points (opposed rows, some of low rank), and float32
cannot write down the solution of an ill-conditioned problem: their residual is large there, as it should be.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from mtl.files import to_json, write_atomic
from mtl.solvers import QPSolution, cone_qp, conflict_averse, fair_weights, simplex_qp
from mtl.types import Array
from mtl.weightings import aligned_mtl, upgrad
from tests.solvers.gramians import KINDS, SIZES, random_gramians

FLAGS = flags.FLAGS
flags.DEFINE_multi_integer("tasks", [2, 4, 8, 16, 64], "Numbers of tasks T.")
flags.DEFINE_integer("rounds", 21, "Rounds in which every solver is timed once on every kind.")
flags.DEFINE_integer("calls", 50, "Calls of one measurement.")
flags.DEFINE_string("json", None, "Also write the figures to this file.")

TARGET_TASKS, TARGET_MICROSECONDS = 8, 100.0
TARGETS = ("simplex_qp", "cone_qp", "nash")
KIND_NAMES = ("full_rank", "low_rank", "ill_conditioned", "uneven", "opposed", "typical")


def _even_cone(gramian: Array) -> QPSolution:
    """DualProj's problem, v ≥ 1/T."""
    size = gramian.shape[-1]
    return cone_qp(gramian, jnp.full(size, 1.0 / size, gramian.dtype))


def _through(weighting: Any) -> Callable[[Array], Any]:
    """The solve of a weighting: its state after an update with gradients whose Gramian is the given one."""

    def solve(factor: Array) -> Any:
        return weighting.update(factor, weighting.init(factor[0]))[1]

    return solve


SOLVERS: dict[str, Callable[[Array], Any]] = {
    "simplex_qp": simplex_qp,
    "cone_qp": _even_cone,
    "upgrad": _through(upgrad()),
    "nash": fair_weights,
    "fairgrad_2": lambda gramian: fair_weights(gramian, 2.0),
    "cagrad": lambda gramian: conflict_averse(gramian, 0.5),
    "aligned_mtl": _through(aligned_mtl()),
}
