"""Softmax gates over experts, their dropout against polarisation, and their diagnostics."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtl.layers.stacked_dense import StackedDense
from mtl.types import Array, widened

POLARISED = 0.95
"""A row is polarised for a gate when its largest weight exceeds this."""


def mix(weights: Array, experts: Array) -> Array:
    """Mixes experts' outputs, `y_g = Σ_e w_ge f_e`.

    Args:
      weights: `[G, B, E]`, weights of G gates.
      experts: `[E, B, H]`, outputs that all gates see, or `[G, E, B, H]`, those of each gate.

    Returns:
      `[G, B, H]`.
    """
    if experts.ndim != weights.ndim:
        return jnp.einsum("gbe,gebh->gbh", weights, experts)
    if jax.default_backend() == "cpu":
        return _mix_by_rows(weights, experts)
    return jnp.einsum("gbe,ebh->gbh", weights, experts)


@jax.custom_vjp
def _mix_by_rows(weights: Array, experts: Array) -> Array:
    """The mixture as one small product per row, which XLA's CPU backend runs up to 3 times as fast.

    Its transposes are written out because those that differentiation finds are slower than what they replace.
    """
    by_row = jnp.einsum("bge,beh->bgh", jnp.moveaxis(weights, 0, 1), jnp.moveaxis(experts, 0, 1))
    return jnp.moveaxis(by_row, 1, 0)


def _mix_forward(weights: Array, experts: Array) -> tuple[Array, tuple[Array, Array]]:
    return _mix_by_rows(weights, experts), (weights, experts)


def _mix_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    weights, experts = saved
    by_row = jnp.einsum("bgh,beh->bge", jnp.moveaxis(cotangent, 0, 1), jnp.moveaxis(experts, 0, 1))
    # One multiply-and-add per gate fuses; a product over the gates would copy both operands.
    pairs = zip(weights, cotangent, strict=True)
    to_experts = sum((w.T[:, :, None] * c for w, c in pairs), start=jnp.zeros((), experts.dtype))
    return jnp.moveaxis(by_row, 1, 0), to_experts


_mix_by_rows.defvjp(_mix_forward, _mix_backward)


class Mixture(NamedTuple):
    """What tasks read of experts, and with which weights.

    Attributes:
      weights: `[T, B, M + E]`, each task's weights of its own experts and of the shared ones.
      shared: outputs of the experts that all tasks see, `[E, B, H]`.
      own: outputs of each task's own experts `[T, M, B, H]`; None for M = 0.
    """

    weights: Array
    shared: Array
    own: Array | None = None

    def together(self) -> Array:
        """Returns `h_t = Σ_e w_te f_e` for all tasks, `[T, B, H]`."""
        if self.own is None:
            return mix(self.weights, self.shared)
        # Mixing own and shared experts apart saves copying the shared ones once per task.
        count = self.own.shape[1]
        fused = mix(self.weights[..., :count], self.own)
        return fused + mix(self.weights[..., count:], self.shared)

    def alone(self, task: Array) -> Array:
        """Returns h_t of one task, `[B, H]`, reading nothing of the others."""
        own = None if self.own is None else self.own[task][None]
        return Mixture(self.weights[task][None], self.shared, own).together()[0]


class Common(NamedTuple):
    """What tasks read where all read the same; as a `Mixture` of a single expert.

    Attributes:
      features: `[B, H]`.
      weights: ones `[T, B, 1]`.
    """

    features: Array
    weights: Array
    own: None = None

    def together(self) -> Array:
        """Returns the features T times, `[T, B, H]`."""
        return jnp.broadcast_to(self.features, (len(self.weights), *self.features.shape))

    def alone(self, task: Array) -> Array:
        """Returns the features, `[B, H]`."""
        del task
        return self.features


def tap_common(module: nn.Module, features: Array, num_tasks: int) -> Array:
    """Gives all tasks the same features, and marks them as `tap_mixture` does.

    Args:
      module: the module that is running.
      features: `[B, H]`.
      num_tasks: T.

    Returns:
      h `[T, B, H]`, T times the same.
    """
    return tap_mixture(module, Common(features, jnp.ones((num_tasks, len(features), 1), features.dtype)))


def tap_mixture(module: nn.Module, mixture: Mixture | Common) -> Array:
    """Computes what each task reads, and marks it for `mtl.jacobian.TaskTap`.

    The marks do nothing unless the collections `task_perturbations` (zeros that are added to h, which then
    passes no gradient on), `mixture` or `mixing` (where the mixture and the shared experts' weights are left)
    are in use.

    Args:
      module: the module that is running.
      mixture: what the tasks read; slice t of h is read by task t alone.

    Returns:
      h `[T, B, H]`.
    """
    h = mixture.together()
    if not module.is_initializing():
        count = 0 if mixture.own is None else mixture.own.shape[1]
        for collection, value in (("mixing", mixture.weights[..., count:]), ("mixture", mixture)):
            module.sow(collection, "value", value, init_fn=lambda: None, reduce_fn=lambda _, new: new)
        if module.has_variable("task_perturbations", "mixture"):
            h = jax.lax.stop_gradient(h)
    return module.perturb("mixture", h, collection="task_perturbations")


def gate_statistics(weights: Array) -> dict[str, Array]:
    """Summarises how gates spread their weight over experts.

    Args:
      weights: `[G, B, E]`, each row on the simplex.

    Returns:
      `entropy [G]`, the mean over rows of −Σ w log w in nats (log E when uniform, 0 when polarised);
      `utilisation [G, E]` and `utilisation_sd [G, E]`, mean and population standard deviation of
      each weight over rows; `polarised [G]`, the share of rows whose largest weight exceeds 0.95
      (always 1 for a single expert).
    """
    return {
        "entropy": jnp.mean(jnp.sum(jax.scipy.special.entr(weights), axis=-1), axis=-1),
        "utilisation": jnp.mean(weights, axis=1),
        "utilisation_sd": jnp.std(weights, axis=1),
        "polarised": jnp.mean(jnp.max(weights, axis=-1) > POLARISED, axis=-1, dtype=jnp.float32),
    }


def dropped_softmax(logits: Array, keep: Array) -> Array:
    """Softmax over the kept experts only; a row that keeps none keeps all.

    It equals setting the dropped weights to zero and re-normalising the rest, but stays finite when the
    kept weights alone would underflow, which is just the polarised gate that dropout is meant to cure.

    Args:
      logits: `[..., E]`.
      keep: `[..., E]` bool.

    Returns:
      `[..., E]`, each row on the simplex.
    """
    keep = keep | ~jnp.any(keep, axis=-1, keepdims=True)
    return jax.nn.softmax(jnp.where(keep, logits, -jnp.inf))


def softmax_gate(module: nn.Module, logits: Array, dropout_rate: float, train: bool) -> Array:
    """Turns logits into a gate's weights: softmax, diagnostics, dropout.

    When the collection `diagnostics` is mutable, `gate_statistics` of the weights before dropout are sown
    there.

    Args:
      module: the gate that is running; it needs the `dropout` RNG stream for dropout.
      logits: `[G, B, E]` float32.
      dropout_rate: probability in [0, 1) of dropping a weight in training.
      train: whether dropout is on.

    Returns:
      `[G, B, E]` float32, each row on the simplex.
    """
    weights = jax.nn.softmax(logits)
    _sow_statistics(module, weights)
    keep = _kept(module, logits.shape, dropout_rate, train)
    return weights if keep is None else dropped_softmax(logits, keep)


def simplex_gate(module: nn.Module, weights: Array, dropout_rate: float, train: bool) -> Array:
    """As `softmax_gate`, for gates that are no softmax: dropped weights are 0 and the rest is re-normalised.

    Args:
      module: the gate that is running.
      weights: `[G, B, E]` float32, each row on the simplex.
      dropout_rate: probability in [0, 1) of dropping a weight in training.
      train: whether dropout is on.

    Returns:
      `[G, B, E]`; a row whose kept weights are all 0 stays as it is.
    """
    _sow_statistics(module, weights)
    keep = _kept(module, weights.shape, dropout_rate, train)
    if keep is None:
        return weights
    kept = jnp.where(keep, weights, 0.0)
    total = jnp.sum(kept, axis=-1, keepdims=True)
    return jnp.where(total > 0, kept / jnp.where(total > 0, total, 1.0), weights)


def _sow_statistics(module: nn.Module, weights: Array) -> None:
    if module.is_mutable_collection("diagnostics") and not module.is_initializing():
        for name, value in gate_statistics(weights).items():
            module.sow("diagnostics", name, value, init_fn=lambda: None, reduce_fn=lambda _, new: new)


def _kept(module: nn.Module, shape: tuple[int, ...], dropout_rate: float, train: bool) -> Array | None:
    if not train or dropout_rate == 0:
        return None
    return jax.random.bernoulli(module.make_rng("dropout"), 1.0 - dropout_rate, shape)


class Gate(nn.Module):
    """G softmax gates over E experts, `w_g = softmax(W_g x)`, without bias.

    In training each expert's weight is dropped with probability `dropout_rate`, independently per row
    and gate, and the rest is re-normalised; a row that would lose all its experts keeps them all. It
    needs the `dropout` RNG stream. The softmax runs in float32 whatever `dtype` is. When the collection
    `diagnostics` is mutable, `gate_statistics` of the weights before dropout are sown there.

    Reference: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts, KDD 2018, Sec. 4.2; Zhao et al., Recommending What Video to Watch Next,
    RecSys 2019 (10 % gate dropout against polarisation).

    Attributes:
      num_gates: G.
      num_experts: E.
      dropout_rate: probability in [0, 1) of dropping a weight in training.
      dtype: dtype of the projection and of the result; parameters are float32.
    """

    num_gates: int
    num_experts: int
    dropout_rate: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Computes the weights.

        Args:
          x: the selector, `[B, D]` for all gates or `[G, B, D]`.
          train: whether dropout is on.

        Returns:
          `[G, B, E]`, each row on the simplex.
        """
        projection = StackedDense(
            (self.num_gates,), self.num_experts, use_bias=False, dtype=self.dtype, name="dense"
        )
        logits = widened(projection(x))
        return softmax_gate(self, logits, self.dropout_rate, train).astype(self.dtype)
