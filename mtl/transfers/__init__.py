"""Transfers: how one task feeds another, towers' outputs `[T, B, H]` → outputs `[T, B, K_max]`.

A transfer is a Linen module with the fields `parents` (the task graph, as data), `num_outputs` and
`dtype`; its other fields are the arguments that a study can set, and all of them have defaults.
"""

from mtl.transfers.bayesian import Bayesian
from mtl.transfers.independent import Independent

TRANSFERS = {
    "independent": Independent,
    "bayesian": Bayesian,
}

__all__ = ["TRANSFERS", "Bayesian", "Independent"]
