"""Scenario experts: every pair of scenario and task has experts, beside those that all share (DBMTL 3.0)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers import Mixture, StackedDense, StackedMLP, of_domain, softmax_gate, tap_mixture
from mtl.types import Array, widened

CLOSED = -1e9
"""Logit of an expert that a row may not read."""


class ScenarioExperts(nn.Module):
    """Each task mixes its experts for the row's scenario and the shared ones; gates see the scenario.

        h_t = g_t(x, p) [S_tp ; S_shared],   g_t = softmax(W_t x + c_tp),   p the row's scenario

    S_tp are the m experts of task t in scenario p. Rows of scenario 0, which training has not seen, read the
    shared experts alone. Features that only one scenario has are columns that are 0 elsewhere.

    The tap is the shared experts' output `[m_s, B, H]`, as in `CGC`.

    Reference: the third version of Wang et al., Deep Bayesian Multi-Target Learning for Recommender Systems,
      https://arxiv.org/abs/1902.09154, as its authors describe it in talks; no paper prints its equations.
      With the transfer `bayesian` it is the preset `dbmtl3`.

    Attributes:
      num_tasks: T.
      num_domains: S, the unseen scenario 0 included.
      task_experts: m, experts of each task in each scenario.
      shared_experts: m_s.
      expert_features: units of each expert's layers.
      dropout_rate: gate dropout, see `Gate`.
      dtype: dtype of the computation; parameters are float32.
      remat: whether what lies inside the networks is computed anew for gradients, see `StackedMLP`.
    """

    num_tasks: int
    num_domains: int
    task_experts: int = 1
    shared_experts: int = 4
    expert_features: tuple[int, ...] = (16,)
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, x: Array, *, domain: Array, train: bool = False) -> Array:
        """Extracts features.

        Args:
          x: `[B, D]`.
          domain: scenarios `[B]`.
          train: whether gate dropout is on.

        Returns:
          `[T, B, H]`.
        """
        tasks, own, domains = self.num_tasks, self.task_experts, self.num_domains - 1
        shared = StackedMLP(
            (self.shared_experts,), self.expert_features, self.dtype, self.remat, name="shared_experts"
        )(x)
        shared = self.perturb("representation", shared)
        # Scenario 0 has no experts; its rows compute those of scenario 1, which their gates leave out.
        experts = StackedMLP(
            (tasks, own, domains), self.expert_features, self.dtype, self.remat, name="own_experts"
        )(x)
        experts = of_domain(experts, jnp.maximum(domain - 1, 0))
        gate = _ScenarioGate(
            tasks, self.num_domains, own, self.shared_experts, self.dropout_rate, self.dtype, name="gate"
        )
        return tap_mixture(self, Mixture(gate(x, domain, train=train), shared, experts))


class _ScenarioGate(nn.Module):
    """Weights `[T, B, m + m_s]` of the own and the shared experts."""

    num_tasks: int
    num_domains: int
    own: int
    shared: int
    dropout_rate: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array, domain: Array, *, train: bool) -> Array:
        size = self.own + self.shared
        dense = StackedDense((self.num_tasks,), size, use_bias=False, dtype=self.dtype, name="dense")
        shape = (self.num_tasks, self.num_domains, size)
        bias = self.param("domain_bias", nn.initializers.zeros, shape, jnp.float32)
        logits = widened(dense(x)) + bias[:, domain]
        closed = (domain == 0)[:, None] & (jnp.arange(size) < self.own)
        logits = jnp.where(closed, CLOSED, logits)
        return softmax_gate(self, logits, self.dropout_rate, train).astype(self.dtype)
