"""The Shared-Bottom of `benchmarks.scale` in PyTorch: a sparse table, MGDA as a loop of backward passes.

It computes what `mtl`'s model computes, from the same parameters.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch
from torch.nn import functional

LEARNING_RATE = 1e-3


class SharedBottom(torch.nn.Module):
    """One table for all columns, a bottom, and a tower and head per task.

    Attributes:
      shared: the table's weight, then the bottom's parameters.
      private: parameters of every task.
    """

    def __init__(self, params: Any, sparse: bool):
        super().__init__()
        table = torch.tensor(np.asarray(params["encoder"]["tables"]))
        self.table = torch.nn.Embedding.from_pretrained(table, freeze=False, sparse=sparse)
        bottom = params["extractor"]["bottom"]
        layers = [_linear(bottom[f"dense{i}"], 0) for i in range(len(bottom))]
        self.bottom = torch.nn.ModuleList(layers)
        heads = params["transfer"]["heads"]["dense"]
        tower = params["towers"]["dense0"]
        tasks = range(tower["kernel"].shape[0])
        self.towers = torch.nn.ModuleList(
            torch.nn.Sequential(_linear(tower, t), torch.nn.ReLU(), _linear(heads, t)) for t in tasks
        )
        self.shared = [self.table.weight, *self.bottom.parameters()]
        self.private = [list(each.parameters()) for each in self.towers]

    def losses(self, rows: Any, labels: Any) -> list[Any]:
        """The T losses for rows of the table `[B, C]` and labels `[T, B]`."""
        x = self.table(rows).flatten(1)
        for layer in self.bottom:
            x = functional.relu(layer(x))
        outputs = (tower(x)[:, 0] for tower in self.towers)
        pairs = zip(outputs, labels, strict=True)
        return [functional.binary_cross_entropy_with_logits(out, label) for out, label in pairs]


def make_step(params: Any, method: str, sparse: bool) -> tuple[SharedBottom, Callable[..., Any]]:
    """Copies the parameters and builds one training step.

    Args:
      params: parameters of the Flax model.
      method: `sum` or `mgda`.
      sparse: sparse gradients of the table and SparseAdam, or dense ones and Adam.

    Returns:
      The model, and the step `(rows [B, C], labels [T, B]) -> losses`.
    """
    model = SharedBottom(params, sparse)
    rest = [p for p in model.parameters() if p is not model.table.weight]
    table_optimizer: Any = torch.optim.SparseAdam if sparse else torch.optim.Adam
    optimizers = [
        table_optimizer([model.table.weight], LEARNING_RATE),
        torch.optim.Adam(rest, LEARNING_RATE, fused=True),
    ]

    def step(rows, labels):
        for optimizer in optimizers:
            optimizer.zero_grad()
        losses = model.losses(rows, labels)
        if method == "sum":
            torch.stack(losses).sum().backward()
        else:
            _mgda(model, losses, sparse)
        for optimizer in optimizers:
            optimizer.step()
        return losses

    return model, step


def _mgda(model: SharedBottom, losses: list[Any], sparse: bool) -> None:
    """T backward passes, the Gramian over what is shared, the min-norm weights, the weighted sum."""
    tasks = range(len(losses))
    found = []
    for t in tasks:
        wanted = [*model.shared, *model.private[t]]
        gradients = torch.autograd.grad(losses[t], wanted, retain_graph=t + 1 < len(losses))
        for leaf, gradient in zip(model.private[t], gradients[len(model.shared) :], strict=True):
            leaf.grad = gradient
        found.append(list(gradients[: len(model.shared)]))
    if sparse:
        for gradients in found:
            gradients[0] = gradients[0].coalesce()
    flat = [[g.values() if g.is_sparse else g for g in gradients] for gradients in found]
    gramian = np.zeros((len(losses), len(losses)))
    for i in tasks:
        for j in range(i + 1):
            product = sum(torch.dot(a.flatten(), b.flatten()) for a, b in zip(flat[i], flat[j], strict=True))
            gramian[i, j] = gramian[j, i] = float(product)
    weights = min_norm(gramian)
    for k, leaf in enumerate(model.shared):
        total = sum(w * gradients[k] for w, gradients in zip(weights, flat, strict=True))
        first = found[0][k]
        if first.is_sparse:  # all tasks read the same rows
            total = torch.sparse_coo_tensor(
                first.indices(), total, first.shape, check_invariants=False, is_coalesced=True
            )
        leaf.grad = total


def min_norm(gramian: np.ndarray, steps: int = 50) -> list[float]:
    """Frank–Wolfe with exact line search on the simplex, as Sener and Koltun's code runs it."""
    weights = np.full(len(gramian), 1 / len(gramian))
    for _ in range(steps):
        slope = gramian @ weights
        t = int(np.argmin(slope))
        gap = weights @ slope - slope[t]
        length = weights @ slope - 2 * slope[t] + gramian[t, t]
        if gap <= 1e-7 * abs(weights @ slope) or length <= 0:
            break
        move = min(1.0, gap / length)
        weights = (1 - move) * weights
        weights[t] += move
    return weights.tolist()


def _linear(layer: Any, index: int) -> Any:
    kernel, bias = (np.asarray(jax.device_get(layer[k])) for k in ("kernel", "bias"))
    if kernel.ndim == 3:
        kernel, bias = kernel[index], bias[index]
    made = torch.nn.Linear(*kernel.shape)
    made.weight = torch.nn.Parameter(torch.tensor(kernel.T.copy()))
    made.bias = torch.nn.Parameter(torch.tensor(bias))
    return made
