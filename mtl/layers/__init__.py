"""Layers that extractors, transfers and models are made of.

Experts, gates and towers are stacked parameters with a leading axis, each run as one batched product.
"""

from mtl.layers.attention import (
    DIN,
    ActivationUnit,
    AdditiveScores,
    PositionScores,
    live_softmax,
    weighted_sum,
)
from mtl.layers.bayesian import RelationUnits, relation_groups
from mtl.layers.by_domain import of_domain
from mtl.layers.cgc_level import CGCLevel
from mtl.layers.crosses import Crosses
from mtl.layers.dupn import DUPN, PropertyGatedLSTM
from mtl.layers.embedding import (
    Encoder,
    beside,
    columns_at,
    fused_ids,
    gather,
    joined,
    live_mean,
    pool_sequences,
)
from mtl.layers.gate import (
    POLARISED,
    Common,
    Gate,
    Mixture,
    dropped_softmax,
    gate_statistics,
    mix,
    simplex_gate,
    softmax_gate,
    tap_common,
    tap_mixture,
)
from mtl.layers.head import Heads
from mtl.layers.mlp import StackedMLP
from mtl.layers.ncf import NCF
from mtl.layers.partitioned_norm import PartitionedNorm
from mtl.layers.sampled_softmax import sampled_softmax_loss
from mtl.layers.stacked_dense import RELU_GAIN, StackedDense, stacked_init, stacked_matmul
from mtl.layers.vector_tower import VectorTower

__all__ = [
    "DIN",
    "DUPN",
    "NCF",
    "POLARISED",
    "RELU_GAIN",
    "ActivationUnit",
    "AdditiveScores",
    "CGCLevel",
    "Common",
    "Crosses",
    "Encoder",
    "Gate",
    "Heads",
    "Mixture",
    "PartitionedNorm",
    "PositionScores",
    "PropertyGatedLSTM",
    "RelationUnits",
    "StackedDense",
    "StackedMLP",
    "VectorTower",
    "beside",
    "columns_at",
    "dropped_softmax",
    "fused_ids",
    "gate_statistics",
    "gather",
    "joined",
    "live_mean",
    "live_softmax",
    "mix",
    "of_domain",
    "pool_sequences",
    "relation_groups",
    "sampled_softmax_loss",
    "simplex_gate",
    "softmax_gate",
    "stacked_init",
    "stacked_matmul",
    "tap_common",
    "tap_mixture",
    "weighted_sum",
]
