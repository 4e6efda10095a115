"""Extractors: how tasks share features, `x [B, D] → [T, B, H]`.

An extractor is a Linen module with a field `num_tasks` and a field `dtype`; its other fields are the
arguments that a study can set, and all of them have defaults. Those that share something tap their last
shared tensor with `self.perturb("representation", …)`, so that gradients can be read there.

An extractor that gives all tasks the same features also has a method `common`, `[B, D] → [B, H]`, which
the model prefers: the towers then read one copy instead of T.
"""

from mtl.extractors.cgc import CGC
from mtl.extractors.mmoe import MMoE
from mtl.extractors.omoe import OMoE
from mtl.extractors.ple import PLE
from mtl.extractors.shared_bottom import SharedBottom
from mtl.extractors.single_task import SingleTask

EXTRACTORS = {
    "single_task": SingleTask,
    "shared_bottom": SharedBottom,
    "omoe": OMoE,
    "mmoe": MMoE,
    "cgc": CGC,
    "ple": PLE,
}

__all__ = ["CGC", "EXTRACTORS", "PLE", "MMoE", "OMoE", "SharedBottom", "SingleTask"]
