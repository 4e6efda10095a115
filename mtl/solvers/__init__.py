"""Small convex solvers on the T×T Gramian, each with a certificate.

    simplex_qp        min ½ aᵀGa,  a ≥ c, Σa = 1         MGDA, PE-LTR
    cone_qp           min ½ vᵀGv,  v ≥ u                 UPGrad, DualProj
    fair_weights      Gα = α^(−1/s),  α > 0              Nash-MTL, FairGrad
    conflict_averse   min G1ᵀw/T + c‖g₀‖ √(wᵀGw)         CAGrad
    pseudo_inverse    C⁺ of a cosine matrix              IMTL-G, ConFIG

All are pure functions without host callbacks that work under `jit`, `vmap` and `scan`, on cosines rather than
on G, so that the scales of the gradients play no role.
"""

from mtl.solvers.cone_qp import cone_qp, cone_qp_on_cosines, cone_residual
from mtl.solvers.conflict_averse import conflict_averse
from mtl.solvers.fairness import fair_weights, fairness_residual
from mtl.solvers.projection import project_simplex
from mtl.solvers.pseudo_inverse import pseudo_inverse
from mtl.solvers.simplex_qp import (
    QPSolution,
    ScaleFreeQP,
    affine_minimiser,
    cosine_normalise,
    kkt_residual,
    scale_free,
    simplex_qp,
    wolfe,
)

__all__ = [
    "QPSolution",
    "ScaleFreeQP",
    "affine_minimiser",
    "cone_qp",
    "cone_qp_on_cosines",
    "cone_residual",
    "conflict_averse",
    "cosine_normalise",
    "fair_weights",
    "fairness_residual",
    "kkt_residual",
    "project_simplex",
    "pseudo_inverse",
    "scale_free",
    "simplex_qp",
    "wolfe",
]
