"""Transfers: how one task feeds another, towers' outputs `[T, B, H]` → outputs `[T, B, K_max]`.

A transfer is a Linen module with the field `num_outputs` and any of `parents` (the task graph, as data),
`requires` (the events that each task's event implies), `kinds` and `dtype`, which the model's builder fills
in; its other fields are the arguments that a study can set, and all of them have defaults. `NEEDS_REQUIRED`
marks those that make sense only where events imply each other.

What a transfer adds to the training losses it sows in `penalties`, one number per task. Logits of
conditional probabilities that it sows in `conditionals` are trained on the rows where what a task requires
has happened: in place of the outputs if its `supervise` is `conditional`, beside them if it is `both`.
"""

from mtl.transfers.ait import AIT
from mtl.transfers.bayesian import Bayesian
from mtl.transfers.cascade import Cascade
from mtl.transfers.esm2 import ESM2
from mtl.transfers.feed_output import FeedOutput
from mtl.transfers.independent import Independent
from mtl.transfers.kl_bound import KLBound
from mtl.transfers.product import Product

TRANSFERS = {
    "independent": Independent,
    "bayesian": Bayesian,
    "product": Product,
    "esm2": ESM2,
    "kl_bound": KLBound,
    "cascade": Cascade,
    "ait": AIT,
    "feed_output": FeedOutput,
}

__all__ = [
    "AIT",
    "ESM2",
    "TRANSFERS",
    "Bayesian",
    "Cascade",
    "FeedOutput",
    "Independent",
    "KLBound",
    "Product",
]
