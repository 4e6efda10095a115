"""The task Jacobian: a lazy linear map from T loss cotangents to parameter gradients.

`losses, jac = task_jacobian(loss_fn, params, batch)` runs the forward pass once. What is then read
from `jac` decides what the backward passes cost:

    jac.pullback(w)     Σ_t w_t ∇L_t              one backward pass
    jac.stacked()       leaves [T, *shape]        T backward passes
    jac.gramian()       G_ij = ⟨∇L_i, ∇L_j⟩       T backward passes; at a tap, T through the heads only

Nothing is computed until it is read, and under `jit` XLA drops what is not. A Jacobian is a pytree:
it passes through `jit`, `vmap`, `scan` and `optax.chain`. Wherever a weighting takes a Jacobian it
also takes a plain pytree with leaves `[T, *shape]` (`as_jacobian`).
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl.errors import InputError
from mtl.types import Array, LossFn, PyTree, widened

Shared = PyTree | Callable[[Any], bool] | None
"""Which leaves are shared: None (all), a pytree of bools, or a function of the leaf's key path."""


class TaskCut(NamedTuple):
    """Where the graph can be cut between what tasks share and what each reads of it.

    Attributes:
      values: `values(params, *args) -> y`, given the arguments of the loss function: a pytree from which all
        tasks read, such as the experts' outputs and the gates' weights.
      together: `together(y) -> h [T, B, H]`, what the tasks read.
      alone: `alone(y, t) -> h_t [B, H]`, what task t reads, touching no more of y than it must.
    """

    values: Callable[..., PyTree]
    together: Callable[[PyTree], Array]
    alone: Callable[[PyTree, Array], Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TaskTap:
    """A tap at which every task has a slice of its own, so that one backward pass reads all gradients.

    Task t sees the shared experts z_e through h_t = Σ_e m_te z_e + …, and h_t alone. Then ∂L_t/∂z_e is
    m_te ∂L_t/∂h_t, and the Gramian at the experts follows from the T small gradients at h:

        G_ij = Σ_b ⟨m_ib, m_jb⟩ ⟨∂L_i/∂h_ib, ∂L_j/∂h_jb⟩

    A loss function that is given a `TaskTap` as `perturbations` adds `zeros` to h and returns the mixing
    weights m `[T, B, E]` beside the losses. It must not let a task read another task's slice.

    With a `cut` all gradients at h take one pass through what follows, and each task's gradient of the
    parameters one more, from its slice of h alone. Without, every one of the T passes runs through the heads
    and the mixtures of all tasks.

    Attributes:
      zeros: zeros shaped like h, `[T, B, H]` (a pytree with that one leaf).
      cut: how h comes about. The loss function then adds `zeros` to `stop_gradient(h)`, so that no gradient
        passes twice.
    """

    zeros: PyTree
    cut: TaskCut | None = field(default=None, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TaskJacobian:
    """Gradients of T losses, not yet computed; made by `task_jacobian`.

    Attributes:
      vjp: maps a cotangent `[T]` to `(∂/∂params, ∂/∂tap)`.
      losses: the T losses `[T]`, which fix the dtype of the cotangents.
      mixing: mixing weights `[T, B, E]` of a `TaskTap`, else None.
      values: y of a `TaskCut`, else None; with a cut `vjp` covers only what follows h.
      values_vjp: maps a cotangent at y to `(∂/∂params,)`.
      cut: the cut.
      has_tap: whether gradients at a tap can be read.
      chunk_size: how many backward passes run as one batch; None leaves it to the backend.
    """

    vjp: Callable
    losses: Array
    mixing: Array | None = None
    values: PyTree = None
    values_vjp: Callable | None = None
    cut: TaskCut | None = field(default=None, metadata={"static": True})
    has_tap: bool = field(default=False, metadata={"static": True})
    chunk_size: int | None = field(default=None, metadata={"static": True})

    @property
    def num_tasks(self) -> int:
        """The number of tasks T."""
        return self.losses.shape[-1]

    def pullback(self, weights: Array) -> PyTree:
        """Returns Σ_t w_t ∇L_t for weights `[T]`, in one backward pass."""
        after, at_tap = self.vjp(weights.astype(self.losses.dtype))
        if self.cut is None:
            return after
        (slices,) = jax.tree.leaves(at_tap)
        return jax.tree.map(jnp.add, self._before(self.cut.together, slices), after)

    def stacked(self) -> PyTree:
        """Returns the gradients with a leading task axis, leaves `[T, *shape]`; T passes."""
        return self._rows(0)

    def stacked_at_tap(self) -> PyTree:
        """Returns the gradients at the tap, leaves `[T, *shape of the tap]`.

        Raises:
          InputError: the Jacobian was made without a tap.
        """
        if not self.has_tap:
            raise InputError(
                "gradients at a tap were asked for, but task_jacobian was called without one; "
                "pass tap=zeros shaped like the intermediate"
            )
        if self.mixing is not None:
            return self.mixing[..., :, None] * self._own_slices()[..., None, :]
        return self._rows(1)

    def gramian(self, shared: Shared = None, *, tap: bool = False) -> Array:
        """Returns the inner products `G [T, T]` of the task gradients, float32 or wider.

        Args:
          shared: the leaves that enter; ignored with `tap`.
          tap: read the gradients at the tap instead of at the parameters.
        """
        if not tap:
            return gramian(self.stacked(), shared)
        if self.mixing is not None:
            return _over_devices(_mixed_gramian(self.mixing, self._own_slices()))
        return _over_devices(gramian(self.stacked_at_tap()))

    def evaluated(self) -> "StackedJacobian":
        """Returns the same Jacobian with its gradients computed; T passes."""
        return StackedJacobian(self.stacked())

    def _own_slices(self) -> Array:
        """∂L_t/∂h_t for all t, `[T, B, H]`: no other loss reaches slice t, so the sum of all serves."""
        (slices,) = jax.tree.leaves(self.vjp(jnp.ones_like(self.losses))[1])
        return slices

    def _rows(self, output: int) -> PyTree:
        """The gradients of all tasks with respect to one input of the loss function."""
        one_hot = jnp.eye(self.num_tasks, dtype=self.losses.dtype)
        if output == 0 and self.cut is not None:
            return self._in_chunks(self._through(self.cut), jnp.arange(self.num_tasks))
        return self._in_chunks(lambda cotangent: self.vjp(cotangent)[output], one_hot)

    def _through(self, cut: TaskCut) -> Callable[[Array], PyTree]:
        """Maps t to the gradient of task t: from its slice of h, and from what follows h."""
        slices = self._own_slices()

        def row(t):
            before = self._before(lambda y: cut.alone(y, t), slices[t])
            # For a parameter ahead of h this pass gives zeros, and XLA drops it.
            after = self.vjp(jax.nn.one_hot(t, self.num_tasks, dtype=self.losses.dtype))[0]
            return jax.tree.map(jnp.add, before, after)

        return row

    def _before(self, read: Callable[[PyTree], Array], cotangent: Array) -> PyTree:
        """Pulls a cotangent of what is read of y back to the parameters ahead of the cut."""
        assert self.values_vjp is not None
        _, read_vjp = jax.vjp(read, self.values)
        return self.values_vjp(read_vjp(cotangent)[0])[0]

    def _fits_in_cache(self) -> bool:
        """Whether the intermediates of all passes from the cut do, so that XLA may run them side by side."""
        size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self.values))
        return 0 < self.num_tasks * size <= _CACHE

    def _in_chunks(self, row: Callable[[Array], PyTree], tasks: Array) -> PyTree:
        chunk = _default_chunk(self.num_tasks) if self.chunk_size is None else self.chunk_size
        if chunk >= self.num_tasks:
            return jax.vmap(row)(tasks)
        if self.chunk_size is None and self._fits_in_cache():
            rows = [row(task) for task in tasks]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)
        if chunk == 1:
            return jax.lax.map(row, tasks)
        return jax.lax.map(row, tasks, batch_size=chunk)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StackedJacobian:
    """The same interface over gradients that exist already, leaves `[T, *shape]`."""

    leaves: PyTree

    @property
    def num_tasks(self) -> int:
        """The number of tasks T."""
        return jax.tree.leaves(self.leaves)[0].shape[0]

    def pullback(self, weights: Array) -> PyTree:
        """Returns Σ_t w_t g_t for weights `[T]`, each leaf in its own dtype."""
        return jax.tree.map(lambda g: _combine(weights, g), self.leaves)

    def stacked(self) -> PyTree:
        """Returns the gradients as they are, leaves `[T, *shape]`."""
        return self.leaves

    def evaluated(self) -> "StackedJacobian":
        """Returns itself."""
        return self

    def gramian(self, shared: Shared = None, *, tap: bool = False) -> Array:
        """Returns the inner products `G [T, T]`; see `TaskJacobian.gramian`.

        Raises:
          InputError: `tap` is set: stacked gradients have no tap.
        """
        if tap:
            raise InputError("stacked gradients have no tap; pass the Jacobian of task_jacobian")
        return gramian(self.leaves, shared)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GramianJacobian:
    """The same interface where nothing but the Gramian is known; an update is the T coefficients themselves.

    A weighting that reads inner products of gradients and nothing else does the same arithmetic here as on
    gradients of any size, which lets several methods share their backward passes.
    """

    known: Array

    @property
    def num_tasks(self) -> int:
        """The number of tasks T."""
        return self.known.shape[0]

    def pullback(self, weights: Array) -> Array:
        """Returns the weights `[T]`, float32 or wider."""
        return widened(weights)

    def stacked(self) -> PyTree:
        """Refuses.

        Raises:
          InputError: always; a method that asks for gradients cannot work from the Gramian.
        """
        raise InputError("this weighting reads the gradients themselves, and only their Gramian is known")

    def evaluated(self) -> "GramianJacobian":
        """Returns itself."""
        return self

    def gramian(self, shared: Shared = None, *, tap: bool = False) -> Array:
        """Returns the inner products `G [T, T]`, whatever they were taken of."""
        del shared, tap
        return self.known


Jacobian = TaskJacobian | StackedJacobian | GramianJacobian


def as_jacobian(updates: Jacobian | PyTree) -> Jacobian:
    """Wraps a pytree with leaves `[T, *shape]`; a Jacobian is returned as it is.

    Raises:
      InputError: the tree has no leaf, or the leaves disagree about T.
    """
    if isinstance(updates, Jacobian):
        return updates
    sizes = {jnp.shape(x)[:1] for x in jax.tree.leaves(updates)}
    if len(sizes) != 1 or () in sizes:
        raise InputError(
            "a weighting takes the Jacobian of task_jacobian or leaves with one leading task axis; "
            f"found leading axes {sorted(sizes)}"
        )
    return StackedJacobian(updates)


def task_jacobian(
    loss_fn: LossFn,
    params: PyTree,
    *args: Any,
    has_aux: bool = False,
    tap: PyTree | None = None,
    chunk_size: int | None = None,
) -> Any:
    """Evaluates T losses and returns them with their lazy Jacobian.

    Args:
      loss_fn: `loss_fn(params, *args) -> losses [T]`, or `(losses, aux)` with `has_aux`. With a tap
        it is called as `loss_fn(params, *args, perturbations=tap)` and must add the perturbations to
        the intermediate; with Linen that is `self.perturb(name, x)` in the module and
        `model.apply({"params": params, "perturbations": perturbations}, …)` in the loss.
      params: any pytree of floating-point arrays.
      *args: passed on, not differentiated.
      has_aux: whether `loss_fn` also returns something that is not differentiated.
      tap: zeros shaped like the intermediate (any pytree), a `TaskTap`, or None. With a `TaskTap`,
        `loss_fn` returns `(losses, mixing)`, or `(losses, mixing, aux)`.
      chunk_size: how many of the T backward passes run as one batch. It bounds the memory of their
        intermediates, not that of the result. None: all of them, but one after another on CPU, where that
        is faster.

    Returns:
      `(losses [T], jac)`, or `(losses, jac, aux)` with `has_aux`.

    Raises:
      InputError: the losses are not a vector, or `chunk_size` is below 1.

    Reference:
      The tap: Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018,
      Section 3.3 (MGDA-UB), where gradients are taken at the shared representation.
    """
    if chunk_size is not None and chunk_size < 1:
        raise InputError(f"chunk_size is {chunk_size}, expected None or at least 1")

    mixes = isinstance(tap, TaskTap)

    def losses_of(params, tap):
        more = {} if tap is None else {"perturbations": tap}
        out: Any = loss_fn(params, *args, **more)
        out = out if has_aux or mixes else (out,)
        return out[0], (out[1] if mixes else None, out[-1] if has_aux else None)

    losses, vjp, (mixing, aux) = jax.vjp(losses_of, params, tap, has_aux=True)
    if jnp.ndim(losses) != 1:
        raise InputError(f"loss_fn returned losses of shape {jnp.shape(losses)}, expected a vector [T]")
    cut = tap.cut if isinstance(tap, TaskTap) else None
    values, values_vjp = (None, None)
    if cut is not None:
        values, values_vjp = jax.vjp(lambda p: cut.values(p, *args), params)
    jac = TaskJacobian(
        vjp, losses, mixing, values, values_vjp, cut, has_tap=tap is not None, chunk_size=chunk_size
    )
    return (losses, jac, aux) if has_aux else (losses, jac)


def gramian(stacked: PyTree, shared: Shared = None) -> Array:
    """Inner products of stacked gradients, summed leaf by leaf.

        G_ij = Σ_leaves ⟨g_i, g_j⟩

    Args:
      stacked: leaves `[T, *shape]`.
      shared: the leaves that enter; None for all.

    Returns:
      G `[T, T]`, accumulated in float32 or wider at full precision on every backend.

    Raises:
      InputError: no leaf is shared.
    """
    return sum((_leaf_gramian(x, x) for x in shared_leaves(stacked, shared)), start=jnp.zeros(()))


def cross_gramian(first: PyTree, second: PyTree, shared: Shared = None) -> Array:
    """Inner products of the gradients of two batches, A_ij = ⟨g_i of the first, g_j of the second⟩.

    Over independent batches A is an unbiased estimate of the Gramian of the mean gradients, which the
    Gramian of one batch is not.

    Args:
      first: leaves `[T, *shape]`.
      second: likewise.
      shared: the leaves that enter; None for all.

    Returns:
      A `[T, T]`, not symmetric.

    Raises:
      InputError: no leaf is shared.
    """
    pairs = zip(shared_leaves(first, shared), shared_leaves(second, shared), strict=True)
    return sum((_leaf_gramian(x, y) for x, y in pairs), start=jnp.zeros(()))


def shared_leaves(tree: PyTree, shared: Shared) -> list[Array]:
    """Returns the leaves that tasks share.

    Raises:
      InputError: there is none.
    """
    mask = jax.tree.leaves(shared_mask(tree, shared))
    kept = [x for x, keep in zip(jax.tree.leaves(tree), mask, strict=True) if keep]
    if not kept:
        raise InputError("no parameter is shared between tasks, so there is no Gramian to balance")
    return kept


def combine(jac: Jacobian, weights: Array, shared: Shared = None) -> PyTree:
    """Applies task weights to the shared leaves; private leaves get their own task's gradient.

        u = Σ_t w_t ∇L_t (shared leaves),   u = Σ_t ∇L_t (the others, which one task each moves)

    Args:
      jac: a Jacobian.
      weights: weights `[T]`.
      shared: the leaves on which the weights act; None for all, which takes one backward pass.
        Otherwise there is a second one, of which XLA keeps only what the private leaves need.

    Returns:
      The update, shaped like the parameters.
    """
    weighted = jac.pullback(weights)
    if shared is None:
        return weighted
    own = jac.pullback(jnp.ones_like(weights))
    return select(shared_mask(weighted, shared), weighted, own)


def select(mask: PyTree, shared: PyTree, private: PyTree) -> PyTree:
    """Returns the leaves of `shared` where the mask of bools is true, else those of `private`."""
    return jax.tree.map(lambda keep, a, b: a if keep else b, mask, shared, private)


def shared_mask(tree: PyTree, shared: Shared) -> PyTree:
    """Resolves `shared` to a pytree of bools with the structure of `tree`.

    Raises:
      InputError: a pytree of bools has another structure than `tree`.
    """
    if shared is None:
        return jax.tree.map(lambda _: True, tree)
    # A module's pytree may be callable as well; a function of the path is a leaf.
    if callable(shared) and jax.tree_util.all_leaves([shared]):
        return jax.tree_util.tree_map_with_path(lambda path, _: bool(shared(path)), tree)
    found: Any = jax.tree.structure(shared)
    expected: Any = jax.tree.structure(tree)
    if found != expected:
        raise InputError(
            "shared= must be None, a function of the key path, or a pytree of bools with the structure "
            f"of the parameters; found {found}, expected {expected}"
        )
    return shared


_WHOLE = 1 << 21
"""Entries of the largest gradients whose Gramian is one product on CPU; XLA packs larger ones badly."""

_BLOCK = 8192
"""Columns of the blocks of larger ones: the block of T rows stays in the cache."""

_LONG = 32_768
"""Columns from which sums over pairs of rows beat a product on CPU, if there are few pairs."""

_PAIRS = 10
"""As many sums as one loop can hold in registers: those of four rows with one another."""

_FOLD = 8
"""Columns that a sum takes at a time; with more, or with more pairs, the loop is not unrolled and is slow."""

_LANES = 512
"""Sums of a pair side by side: a multiple of any vector register."""

_FEW = 4
"""Rows whose weighted sum is written out on CPU: it fuses with what follows, as a product does not."""

_CACHE = 5 << 20
"""Bytes. On CPU, passes whose intermediates fit in it run unrolled, up to 1.2 times as fast as in a loop.

That is so for T = 8 and 256 rows of 8 experts of 64 units (4 MiB); with 2,048 rows, unrolled passes compete
for the cache and take twice as long.
"""


def _default_chunk(num_rows: int) -> int:
    """All backward passes at once on accelerators, one after another on CPU.

    XLA's batched products over cotangents transpose every operand on CPU: a step of MGDA on an MMoE with
    T = 8 and 2,048 rows takes 12 times the plain sum batched and 3 times in turn.
    """
    return 1 if jax.default_backend() == "cpu" else num_rows


def _leaf_gramian(x: Array, y: Array) -> Array:
    columns = math.prod(x.shape[1:])
    on_cpu = jax.default_backend() == "cpu"
    pairs = [(i, j) for i in range(len(x)) for j in range(i if x is y else 0, len(y))]
    if on_cpu and len(pairs) <= _PAIRS and columns >= _LONG:
        # Rows one by one: of rows that were stacked, XLA then reads the originals and never stacks them.
        first, second = ([widened(row.reshape(-1)) for row in rows] for rows in (x, y))
        return _sums_over_pairs(first, second, pairs)
    left, right = _rows(x), _rows(y)
    if not on_cpu or left.size <= _WHOLE:
        return _outer(left, right)
    whole = columns // _BLOCK * _BLOCK

    def add(total, start):
        block = [jax.lax.dynamic_slice_in_dim(rows, start, _BLOCK, axis=1) for rows in (left, right)]
        return total + _outer(*block), None

    rest = _outer(left[:, whole:], right[:, whole:])
    total, _ = jax.lax.scan(add, rest, jnp.arange(0, whole, _BLOCK))
    return total


def _sums_over_pairs(left: list[Array], right: list[Array], pairs: list[tuple[int, int]]) -> Array:
    """The Gramian of few long rows, read once: 2 to 4 times as fast as a product, and more exact.

    Products pack their operands, which is most of the work when T is small. One reduction of all pairs reads
    every row once; summed over an axis of 8 that is not the last it becomes vector instructions, which float
    addition otherwise forbids, because no sum changes its order.
    """
    whole = len(left[0]) // (_FOLD * _LANES) * (_FOLD * _LANES)
    first, second = ([row[:whole].reshape(-1, _FOLD, _LANES) for row in rows] for rows in (left, right))
    products = tuple(first[i] * second[j] for i, j in pairs)
    zeros = tuple(jnp.zeros((), product.dtype) for product in products)
    sums = jax.lax.reduce(products, zeros, lambda a, b: tuple(map(jnp.add, a, b)), (1,))
    total = dict(zip(pairs, map(jnp.sum, sums), strict=True))
    total |= {(j, i): value for (i, j), value in total.items() if (j, i) not in total}
    square = [jnp.stack([total[i, j] for j in range(len(right))]) for i in range(len(left))]
    rest = (jnp.stack([row[whole:] for row in rows]) for rows in (left, right))
    return jnp.stack(square) + _outer(*rest)


def _rows(x: Array) -> Array:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return x.reshape(x.shape[0], math.prod(x.shape[1:])).astype(wide)


def _mixed_gramian(mixing: Array, slices: Array) -> Array:
    """G_ij = Σ_b ⟨m_ib, m_jb⟩⟨s_ib, s_jb⟩; multiply-and-sum beats T² products of one row each."""

    def inner(x):
        x = widened(x)
        return jnp.sum(x[:, None] * x[None], axis=-1)

    return jnp.sum(inner(mixing) * inner(slices), axis=-1)


def _over_devices(gramian: Array) -> Array:
    """Adds up the parts of a Gramian at a tap inside `shard_map`, where every device has rows of its own."""
    axes = tuple(jax.typeof(gramian).mat.varying)
    return jax.lax.psum(gramian, axes) if axes else gramian


def _outer(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right.T, precision=jax.lax.Precision.HIGHEST)


def _combine(weights: Array, leaf: Array) -> Array:
    wide = jnp.promote_types(leaf.dtype, jnp.float32)
    if jax.default_backend() == "cpu" and len(weights) == len(leaf) <= _FEW:
        terms = (weight.astype(wide) * row.astype(wide) for weight, row in zip(weights, leaf, strict=True))
        return functools.reduce(jnp.add, terms).astype(leaf.dtype)
    out = jnp.tensordot(weights.astype(wide), leaf.astype(wide), axes=1, precision=jax.lax.Precision.HIGHEST)
    return out.astype(leaf.dtype)
