"""Layers that extractors, transfers and models are made of.

Experts, gates and towers are stacked parameters with a leading axis, each run as one batched product.
"""

from mtl.layers.bayesian import RelationUnits, relation_groups
from mtl.layers.by_domain import of_domain
from mtl.layers.cgc_level import CGCLevel
from mtl.layers.embedding import Encoder, fused_ids, gather
from mtl.layers.gate import (
    POLARISED,
    Gate,
    Mixture,
    dropped_softmax,
    gate_statistics,
    mix,
    simplex_gate,
    softmax_gate,
    tap_mixture,
)
from mtl.layers.head import Heads
from mtl.layers.mlp import StackedMLP
from mtl.layers.ncf import NCF
from mtl.layers.partitioned_norm import PartitionedNorm
from mtl.layers.stacked_dense import RELU_GAIN, StackedDense, stacked_init, stacked_matmul

__all__ = [
    "NCF",
    "POLARISED",
    "RELU_GAIN",
    "CGCLevel",
    "Encoder",
    "Gate",
    "Heads",
    "Mixture",
    "PartitionedNorm",
    "RelationUnits",
    "StackedDense",
    "StackedMLP",
    "dropped_softmax",
    "fused_ids",
    "gate_statistics",
    "gather",
    "mix",
    "of_domain",
    "relation_groups",
    "simplex_gate",
    "softmax_gate",
    "stacked_init",
    "stacked_matmul",
    "tap_mixture",
]
