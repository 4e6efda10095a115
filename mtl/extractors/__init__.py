"""Extractors: how tasks share features, `x [B, D] → [T, B, H]`.

An extractor is a Linen module with a field `num_tasks` and a field `dtype`; its other fields are the
arguments that a study can set, and all of them have defaults. Those that share something tap their last
shared tensor with `self.perturb("representation", …)`, so that gradients can be read there.

An extractor that gives all tasks the same features also has a method `common`, `[B, D] → [B, H]`, which
the model prefers: the towers then read one copy instead of T.

One with a field `num_domains` is also given the rows' scenarios, `domain= [B]`; scenario 0 is one that
training has not seen.

What an extractor adds to the training losses it sows in the collection `penalties`, one number per task.
"""

from mtl.extractors.attention_gate import AttentionGate
from mtl.extractors.cgc import CGC
from mtl.extractors.cross_stitch import CrossStitch
from mtl.extractors.dselect_k import DSelectK
from mtl.extractors.mmoe import MMoE
from mtl.extractors.omoe import OMoE
from mtl.extractors.ple import PLE
from mtl.extractors.scenario_experts import ScenarioExperts
from mtl.extractors.separate_domains import SeparateDomains
from mtl.extractors.shared_bottom import SharedBottom
from mtl.extractors.single_task import SingleTask
from mtl.extractors.snr import SNR
from mtl.extractors.star import STAR

EXTRACTORS = {
    "single_task": SingleTask,
    "shared_bottom": SharedBottom,
    "omoe": OMoE,
    "mmoe": MMoE,
    "cgc": CGC,
    "ple": PLE,
    "attention_gate": AttentionGate,
    "dselect_k": DSelectK,
    "snr": SNR,
    "cross_stitch": CrossStitch,
    "separate_domains": SeparateDomains,
    "star": STAR,
    "scenario_experts": ScenarioExperts,
}

__all__ = [
    "CGC",
    "EXTRACTORS",
    "PLE",
    "SNR",
    "STAR",
    "AttentionGate",
    "CrossStitch",
    "DSelectK",
    "MMoE",
    "OMoE",
    "ScenarioExperts",
    "SeparateDomains",
    "SharedBottom",
    "SingleTask",
]
