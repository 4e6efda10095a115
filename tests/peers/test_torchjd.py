"""Methods that need only this step's gradients, against TorchJD on the same Jacobians; who is right where.

    pip install -e .[peers] && pytest tests/peers

Skipped without PyTorch and TorchJD. Written against TorchJD 0.18.0, which runs at its tightest settings here,
so that definitions are compared and not tolerances; `at defaults` is what a user gets who sets nothing. Both
sides run in float64. The table `DEVIATIONS` lists every disagreement, with the evidence; outside it updates
must agree. Methods with a memory, and those that read losses, are in `test_torchjd_sequences.py`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import weightings
from mtl.solvers import fairness_residual

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e .[peers]")
pytest.importorskip("torchjd", reason="TorchJD is not installed: pip install -e .[peers]")
from torchjd import aggregation  # noqa: E402
from torchjd.linalg import QuadprogProjector  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("x64"),
    pytest.mark.filterwarnings("ignore:You are solving a parameterized problem that is not DPP"),
    pytest.mark.filterwarnings("ignore:invalid value encountered"),  # cvxpy and scipy, on hard cases
    pytest.mark.filterwarnings("ignore:divide by zero encountered"),
    pytest.mark.filterwarnings("ignore:Solution may be inaccurate"),
]

COLUMNS = 12
RADIUS = 0.5  # CAGrad's c


class Pair(NamedTuple):
    """One method on both sides.

    Attributes:
      spec: for `weightings.build`.
      peer: makes TorchJD's aggregator for T tasks.
      tolerance: largest difference, relative to the longer of the two updates.
    """

    spec: dict[str, Any]
    peer: Callable[[int], Any]
    tolerance: float = 1e-8


def exact_projector() -> Any:
    """TorchJD's projector without its threshold; the ridge is the least with which quadprog starts."""
    return QuadprogProjector(norm_eps=0.0, reg_eps=1e-13)


PAIRS = {
    "ew": Pair({"name": "ew"}, lambda t: aggregation.Sum()),
    "mgda": Pair({"name": "mgda"}, lambda t: aggregation.MGDA(epsilon=1e-9, max_iters=300)),
    "mgda at defaults": Pair({"name": "mgda"}, lambda t: aggregation.MGDA()),
    "upgrad": Pair({"name": "upgrad"}, lambda t: aggregation.UPGrad(projector=exact_projector()), 1e-7),
    "upgrad at defaults": Pair({"name": "upgrad"}, lambda t: aggregation.UPGrad(), 1e-7),
    "dual_proj": Pair(
        {"name": "dual_proj"}, lambda t: aggregation.DualProj(projector=exact_projector()), 1e-7
    ),
    "dual_proj at defaults": Pair({"name": "dual_proj"}, lambda t: aggregation.DualProj(), 1e-7),
    "nash_mtl": Pair({"name": "nash_mtl"}, lambda t: aggregation.NashMTL(t, optim_niter=100), 1e-6),
    # CLARABEL stops at a gap of 1e-8, which leaves 1e-4 in the direction.
    "cagrad": Pair({"name": "cagrad", "rescale": "none"}, lambda t: aggregation.CAGrad(RADIUS, 0.0), 5e-4),
    "cagrad at defaults": Pair(
        {"name": "cagrad", "rescale": "none"}, lambda t: aggregation.CAGrad(RADIUS), 5e-4
    ),
    "pcd": Pair({"name": "pcd"}, lambda t: aggregation.PCD(eps=0.0)),
    "pcd of large shares": Pair({"name": "pcd", "tau": 0.7}, lambda t: aggregation.PCD(tau=0.7, eps=0.0)),
    "pcd at defaults": Pair({"name": "pcd"}, lambda t: aggregation.PCD()),
    "config": Pair({"name": "config"}, lambda t: aggregation.ConFIG()),
    "imtl_g": Pair({"name": "imtl_g", "total": "abs_sum"}, lambda t: aggregation.IMTLG()),
    "aligned_mtl min": Pair({"name": "aligned_mtl"}, lambda t: aggregation.AlignedMTL()),
    "aligned_mtl median": Pair(
        {"name": "aligned_mtl", "scale": "median"}, lambda t: aggregation.AlignedMTL(scale_mode="median")
    ),
    "aligned_mtl mean": Pair(
        {"name": "aligned_mtl", "scale": "mean"}, lambda t: aggregation.AlignedMTL(scale_mode="rmse")
    ),
    "fairgrad": Pair({"name": "fairgrad", "alpha": 2.0}, lambda t: aggregation.FairGrad(alpha=2.0), 1e-6),
}


@cache
def jacobians() -> dict[str, np.ndarray]:
    """51 random Jacobians with more or less conflict, T = 2, 4 and 8, and hard ones with T = 4."""
    rng = np.random.default_rng(0)
    cases = {}
    for t in (2, 4, 8):
        for i in range(17):
            common = np.outer(rng.normal(size=t), rng.normal(size=COLUMNS))
            cases[f"random T={t} {i}"] = rng.normal(size=(t, COLUMNS)) - 0.4 * (i % 4) * common
    j, d = rng.normal(size=(4, COLUMNS)), rng.normal(size=COLUMNS)
    signs = np.array([1.0, -1.0, 0.5, -2.0])
    return cases | {
        "rows 1 to 1e3": j * np.array([[1.0], [10.0], [100.0], [1e3]]),
        "rows 1e-6 to 1e6": j * np.array([[1e-6], [1e-2], [1e2], [1e6]]),
        "all 1e-6": 1e-6 * j,
        "all 1e-3": 1e-3 * j,
        "all 1e6": 1e6 * j,
        "rank 2": rng.normal(size=(4, 2)) @ rng.normal(size=(2, COLUMNS)),
        "duplicated": j[[0, 0, 1, 2]],
        "conflicting": signs[:, None] * d + 0.1 * j,
        "zero row": j * np.array([[1.0], [0.0], [1.0], [1.0]]),
        "opposed pair": np.stack([j[0], -j[0], j[1], j[2]]),
        "stationary": np.concatenate([j[:3], -j[:3].sum(0, keepdims=True)]),
    }


@cache
def ours(method: str) -> dict[str, np.ndarray]:
    """Our update of every Jacobian; one program per T."""
    updates = {}
    for t in (2, 4, 8):
        tx = weightings.build(PAIRS[method].spec, kinds=["binary"] * t)
        cases = {name: j for name, j in jacobians().items() if len(j) == t}
        run = jax.jit(jax.vmap(lambda j, tx=tx, t=t: tx.update(j, tx.init(j[0]), losses=jnp.ones(t))[0]))
        updates |= dict(zip(cases, np.asarray(run(jnp.asarray(np.stack(list(cases.values()))))), strict=True))
    return updates


@cache
def theirs(method: str) -> dict[str, np.ndarray]:
    """TorchJD's update of every Jacobian, from a fresh aggregator."""
    return {k: PAIRS[method].peer(len(j))(torch.tensor(j)).numpy() for k, j in jacobians().items()}


def difference(j: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """‖x − y‖ over the longer of the two; two updates far below every gradient are equal."""
    norms = np.linalg.norm(j, axis=1)
    floor = 1e-6 * norms[norms > 0].min()
    return float(np.linalg.norm(x - y) / max(np.linalg.norm(x), np.linalg.norm(y), floor))


# --- Evidence: how bad an update x is for a Jacobian; 0 or the smaller the better.


def conflict(j, x):
    """Largest −cos(g_i, x). UPGrad and DualProj promise that no task is opposed."""
    sizes = np.linalg.norm(j, axis=1) * np.linalg.norm(x)
    return max(0.0, np.max(-(j @ x)[sizes > 0] / sizes[sizes > 0], initial=0.0))


def length(j, x):
    """‖x‖. MGDA promises the shortest vector of the convex hull, and both sides return one of the hull."""
    del j
    return np.linalg.norm(x)


def opposition(j, x):
    """−min_i ⟨g_i, x⟩ over the tasks with a gradient, for x in the ball: what CAGrad minimises."""
    mean = j.mean(0)
    outside = np.linalg.norm(x - mean) > RADIUS * np.linalg.norm(mean) * (1 + 1e-6)
    return np.inf if outside else -np.min((j @ x)[np.linalg.norm(j, axis=1) > 0])


def bargaining(j, x):
    """Spread of log α_i(Gα)_i over the tasks with a gradient. Nash-MTL's equations make it 0."""
    live = j[np.linalg.norm(j, axis=1) > 0]
    products = np.linalg.lstsq(live.T, x, rcond=1e-14)[0] * (live @ x)
    return np.ptp(np.log(products)) if (products > 0).all() else np.inf


def wrong_length(j, x):
    """| ‖x‖ − 1 |. Nash-MTL has ‖Jᵀα‖ = √T at every scale of the gradients, which `max_norm` makes 1."""
    del j
    return abs(np.linalg.norm(x) - 1.0)


def unfairness(j, x):
    """Relative violation of FairGrad's equations (Gw)_i = w_i^(−1/2)."""
    w = np.linalg.lstsq(j.T, x, rcond=1e-14)[0]
    return float(fairness_residual(j @ j.T, w, 2.0)) if (w > 0).all() else np.inf


def partiality(j, x):
    """Spread of ⟨g_i, x⟩ / ‖g_i‖ over its size. IMTL-G promises equal projections on all gradients."""
    projections = j @ x / np.linalg.norm(j, axis=1)
    return np.ptp(projections) / np.abs(projections).max() if projections.any() else np.inf


def stuck(j, x):
    """Number of tasks with a gradient whose loss does not fall along −x."""
    return float(np.sum((j @ x)[np.linalg.norm(j, axis=1) > 0] <= 0))


def step_at_rest(j, x):
    """‖x‖ over the gradients, where they add up to zero and no direction helps all tasks."""
    return np.linalg.norm(x) / np.linalg.norm(j, axis=1).max()


class Deviation(NamedTuple):
    """A disagreement, with the reason and the proof.

    Attributes:
      method: a key of `PAIRS`.
      cases: what the names of the Jacobians begin with.
      reason: what TorchJD gives, and why.
      evidence: one of the measures above, or `own` for the distance from TorchJD's own answer at its tight
        settings. Ours must be the better one.
    """

    method: str
    cases: tuple[str, ...]
    reason: str
    evidence: Callable[[np.ndarray, np.ndarray], float] | str


HARD = ("rows", "all", "rank", "duplicated", "conflicting", "opposed", "stationary")
EQUAL = ("random T=2 11", "random T=4 6", "random T=8 14", "zero row")

DEVIATIONS = [
    Deviation("mgda", ("random T=4", "random T=8", *HARD), "300 Frank–Wolfe steps stop too early", length),
    Deviation("mgda at defaults", ("random T=4", "random T=8", *HARD), "100 steps, to 1e-3", length),
    Deviation("mgda", ("zero row",), "no step at all: 0 is in the hull; ours leaves that task out", stuck),
    Deviation("mgda at defaults", ("zero row",), "as above", stuck),
    Deviation("upgrad", ("rows 1e-6",), "a ridge of 1e-13 of the trace hides the short gradients", conflict),
    Deviation("dual_proj", ("rows 1e-6",), "as above", conflict),
    Deviation("upgrad at defaults", ("rows",), "a ridge of 1e-4 of the trace", conflict),
    Deviation("dual_proj at defaults", ("rows",), "as above", conflict),
    Deviation(
        "upgrad at defaults",
        ("random", "rank", "duplicated", "conflicting", "zero row", "opposed", "all 1e6"),
        "a ridge of 1e-4 of the trace",
        "own",
    ),
    Deviation("upgrad at defaults", ("all 1e-",), "a trace below 1e-4 counts as G = 0: the mean", "own"),
    Deviation("upgrad at defaults", ("stationary",), "a ridge of 1e-4 of the trace", step_at_rest),
    Deviation(
        "dual_proj at defaults",
        ("random", "conflicting", "opposed"),
        "a ridge of 1e-4 of the trace",
        conflict,
    ),
    Deviation("nash_mtl", EQUAL, "the solver fails and its start, equal weights, is returned", bargaining),
    Deviation("nash_mtl", ("rows", "all"), "the convex–concave steps stop early", bargaining),
    Deviation("nash_mtl", ("all 1e-6",), "α of the normalised Gramian is not scaled back", wrong_length),
    Deviation("cagrad", ("rows 1e-6", "opposed"), "the conic solver's tolerance", opposition),
    Deviation("cagrad", ("zero row",), "the zero gradient is the worst task at every x", opposition),
    Deviation(
        "cagrad at defaults",
        ("rows 1e-6", "all 1e-", "zero row", "opposed"),
        "no step: a trace below 1e-4, or ‖Jᵀw‖ below 1e-4 of it, counts as zero",
        opposition,
    ),
    Deviation("pcd at defaults", ("rows 1e-6", "all 1e-"), "1e-8 is added to every ‖g‖²", "own"),
    Deviation("imtl_g", ("rows 1e-6",), "the pseudo-inverse of G drops the short gradients", partiality),
    Deviation(
        "imtl_g", ("rank",), "least squares in G, ours in the cosines; no x is exactly fair", partiality
    ),
    Deviation("imtl_g", ("stationary",), "no step; no x is fair", stuck),
    Deviation("fairgrad", ("rows 1e-6", "all 1e-"), "least squares with absolute tolerances", unfairness),
]

UNSOLVABLE = [("nash_mtl", "opposed pair"), ("nash_mtl", "stationary"), ("fairgrad", "stationary")]
"""The equations have no solution, so there is nothing to agree on; our state must say so."""


def listed(method: str, case: str) -> bool:
    """Whether a table has this case."""
    in_table = any(row.method == method and case.startswith(row.cases) for row in DEVIATIONS)
    return in_table or (method, case) in UNSOLVABLE


@pytest.mark.parametrize("method", PAIRS)
def test_updates_agree_outside_the_tables(method):
    x, y = ours(method), theirs(method)
    gaps = {k: difference(j, x[k], y[k]) for k, j in jacobians().items() if not listed(method, k)}
    assert {k: gap for k, gap in gaps.items() if not gap <= PAIRS[method].tolerance} == {}


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: f"{row.method}, {row.cases[0]}")
def test_ours_is_the_better_answer_where_the_two_differ(row):
    cases = {k: j for k, j in jacobians().items() if k.startswith(row.cases)}
    x, y = ours(row.method), theirs(row.method)
    assert max(difference(j, x[k], y[k]) for k, j in cases.items()) > PAIRS[row.method].tolerance
    if row.evidence == "own":
        right = theirs(row.method.removesuffix(" at defaults"))
        badness = {k: [difference(j, u[k], right[k]) for u in (x, y)] for k, j in cases.items()}
    else:
        badness = {k: [row.evidence(j, u[k]) for u in (x, y)] for k, j in cases.items()}
    assert {k: b for k, b in badness.items() if not b[0] <= b[1] * (1 + 1e-9) + 1e-7} == {}
    assert any(b[0] < b[1] for b in badness.values())


def test_nash_mtl_of_torchjd_returns_equal_weights_without_a_word():
    for case in EQUAL:
        total, update = jacobians()[case].sum(0), theirs("nash_mtl")[case]
        np.testing.assert_allclose(update / np.linalg.norm(update), total / np.linalg.norm(total), atol=1e-12)


@pytest.mark.parametrize("method, case", UNSOLVABLE)
def test_our_residual_says_that_there_is_no_solution(method, case):
    j = jnp.asarray(jacobians()[case])
    tx = weightings.build(PAIRS[method].spec, kinds=["binary"] * len(j))
    assert tx.update(j, tx.init(j[0]))[1].residual > 0.1
