"""Small convex solvers on the T×T Gramian, each with a certificate."""

from mtl.solvers.projection import project_simplex
from mtl.solvers.simplex_qp import (
    QPSolution,
    ScaleFreeQP,
    affine_minimiser,
    cosine_normalise,
    kkt_residual,
    scale_free,
    simplex_qp,
)

__all__ = [
    "QPSolution",
    "ScaleFreeQP",
    "affine_minimiser",
    "cosine_normalise",
    "kkt_residual",
    "project_simplex",
    "scale_free",
    "simplex_qp",
]
