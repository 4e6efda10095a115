"""The MMoE of the benchmarks in PyTorch, and every documented way in which TorchJD can train it.

It computes what `mtl.extractors.MMoE` with one-layer towers computes, from the same parameters.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
from torch.nn import functional
from torchjd import aggregation, autogram, autojac

LEARNING_RATE = 1e-3

AGGREGATORS: dict[str, Callable[[int], Any]] = {
    "mgda": lambda t: aggregation.MGDA(),
    "upgrad": lambda t: aggregation.UPGrad(),
    "nash_mtl": lambda t: aggregation.NashMTL(n_tasks=t),
    "cagrad": lambda t: aggregation.CAGrad(c=0.5),
    "pcgrad": lambda t: aggregation.PCGrad(),
}
"""TorchJD's aggregator of each method, with its defaults."""


class StackedMMoE(torch.nn.Module):
    """All experts in one linear layer; all gates, towers and heads in one batched product each.

    Attributes:
      shared: the experts' weight `[E·H, D]` and bias `[E·H]`.
      private: all other parameters.
    """

    def __init__(self, params: Any):
        super().__init__()
        experts, gates, towers, heads = _layers(params)
        self.width = experts["bias"].shape[1]
        self.experts, self.gates = _linear(**experts), _linear(**gates)
        leaves = (towers["kernel"], towers["bias"][:, None], heads["kernel"], heads["bias"][:, None])
        self.tower, self.tower_bias, self.head, self.head_bias = map(_parameter, leaves)
        self.shared = [self.experts.weight, self.experts.bias]
        self.private = [self.gates.weight, self.tower, self.tower_bias, self.head, self.head_bias]

    def represent(self, x: Any) -> Any:
        """Experts' outputs `[B, E, H]` for rows `[B, D]`."""
        return functional.relu(self.experts(x)).view(len(x), -1, self.width)

    def losses(self, x: Any, z: Any, labels: Any) -> Any:
        """Losses `[T]` for rows `[B, D]`, experts' outputs `[B, E, H]` and labels `[T, B]`."""
        weights = torch.softmax(self.gates(x).view(len(x), len(labels), -1), -1)
        h = torch.bmm(weights, z).transpose(0, 1)
        h = functional.relu(torch.baddbmm(self.tower_bias, h, self.tower))
        logits = torch.baddbmm(self.head_bias, h, self.head).squeeze(-1)
        return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)


class SeparateMMoE(torch.nn.Module):
    """All experts in one linear layer; a gate, tower and head per task, so that a pass runs no other's.

    Attributes:
      shared: as in `StackedMMoE`.
      private: all other parameters.
    """

    def __init__(self, params: Any):
        super().__init__()
        experts, gates, towers, heads = _layers(params)
        self.width = experts["bias"].shape[1]
        self.experts = _linear(**experts)
        tasks = [slice(t, t + 1) for t in range(len(gates["kernel"]))]
        pick = [[{k: v[t] for k, v in x.items()} for x in (gates, towers, heads)] for t in tasks]
        self.gates = torch.nn.ModuleList(_linear(**gate) for gate, _, _ in pick)
        self.towers = torch.nn.ModuleList(
            torch.nn.Sequential(_linear(**tower), torch.nn.ReLU(), _linear(**head)) for _, tower, head in pick
        )
        self.shared = [self.experts.weight, self.experts.bias]
        self.private = [*self.gates.parameters(), *self.towers.parameters()]

    def represent(self, x: Any) -> Any:
        """Experts' outputs `[B, E, H]` for rows `[B, D]`."""
        return functional.relu(self.experts(x)).view(len(x), -1, self.width)

    def losses(self, x: Any, z: Any, labels: Any) -> Any:
        """The T losses, apart, for rows `[B, D]`, experts' outputs `[B, E, H]` and labels `[T, B]`."""
        losses = []
        for gate, tower, label in zip(self.gates, self.towers, labels, strict=True):
            h = torch.bmm(torch.softmax(gate(x), -1)[:, None], z)[:, 0]
            losses.append(functional.binary_cross_entropy_with_logits(tower(h)[:, 0], label))
        return losses


class Way(NamedTuple):
    """A documented way to run TorchJD: the model's layout, the interface, `parallel_chunk_size`."""

    model: type
    interface: str
    chunk: int | None = None


WAYS = {
    "backward": Way(StackedMMoE, "backward", 1),
    "backward, vmap": Way(StackedMMoE, "backward"),
    "mtl_backward": Way(SeparateMMoE, "mtl_backward", 1),
    "mtl_backward, vmap": Way(SeparateMMoE, "mtl_backward"),
    "autogram": Way(StackedMMoE, "autogram"),
}


class Trainee(NamedTuple):
    """A model under training.

    Attributes:
      model: the module.
      gradients: fills every `.grad` and returns the T losses.
      step: the same, then Adam; returns when the device is done.
    """

    model: Any
    gradients: Callable[[], Any]
    step: Callable[[], Any]


def make_trainee(params: Any, batch: Any, method: str, way: Way, device: str) -> Trainee:
    """Copies the parameters and builds one training step.

    Args:
      params: parameters of the Flax model.
      batch: `numeric [B, D]` and `labels [B, T]`.
      method: a key of `AGGREGATORS`, or `sum` for the plain sum of the losses.
      way: how TorchJD runs.
      device: PyTorch's name of the device.
    """
    model = way.model(params).to(device)
    x = torch.tensor(np.asarray(batch["numeric"]), device=device)
    labels = torch.tensor(np.asarray(batch["labels"]).T.copy(), device=device)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    aggregator = None if method == "sum" else AGGREGATORS[method](len(labels))
    engine = autogram.Engine(model.experts, batch_dim=None) if way.interface == "autogram" else None

    def gradients():
        optimizer.zero_grad()
        z = model.represent(x)
        losses = model.losses(x, z, labels)
        if aggregator is None:
            losses.sum().backward()
        elif way.interface == "mtl_backward":
            _by_task(model, losses, z, way.chunk)
            _aggregate(model, aggregator)
        else:
            own = torch.autograd.grad(losses.sum(), model.private, retain_graph=True)
            for leaf, gradient in zip(model.private, own, strict=True):
                leaf.grad = gradient
            if engine is None:
                autojac.backward(losses, inputs=model.shared, parallel_chunk_size=way.chunk)
                _aggregate(model, aggregator)
            else:
                weights = aggregator.gramian_weighting(engine.compute_gramian(losses))
                losses.backward(weights, inputs=model.shared)
        return losses

    def step():
        gradients()
        optimizer.step()
        wait(device)

    return Trainee(model, gradients, step)


def wait(device: str) -> None:
    """Returns when the device has nothing left to do."""
    if device != "cpu":
        torch.cuda.synchronize()


def _by_task(model: Any, losses: Any, z: Any, chunk: int | None) -> None:
    private = [[*g.parameters(), *t.parameters()] for g, t in zip(model.gates, model.towers, strict=True)]
    autojac.mtl_backward(
        losses, z, tasks_params=private, shared_params=model.shared, parallel_chunk_size=chunk
    )


def _aggregate(model: Any, aggregator: Any) -> None:
    by_leaf = isinstance(aggregator, aggregation.GramianWeightedAggregator)
    autojac.jac_to_grad(model.shared, aggregator, optimize_gramian_computation=by_leaf)


def _layers(params: Any) -> list[dict[str, np.ndarray]]:
    """Experts `[E, …]`, gates, towers and heads `[T, …]`: kernels `[S, m, n]` and biases `[S, n]`."""
    extractor = params["extractor"]
    layers = [extractor["experts"]["dense0"], extractor["gate"]["dense"]]
    layers += [params["towers"]["dense0"], params["transfer"]["heads"]["dense"]]
    return [jax.tree.map(np.asarray, dict(layer)) for layer in layers]


def _parameter(values: np.ndarray) -> Any:
    return torch.nn.Parameter(torch.tensor(values))


def _linear(kernel: np.ndarray, bias: np.ndarray | None = None) -> Any:
    """One layer that runs a stack of kernels `[S, m, n]` on the same rows, `m → S·n`."""
    layer = torch.nn.Linear(kernel.shape[1], kernel.shape[0] * kernel.shape[2], bias=bias is not None)
    layer.weight = _parameter(kernel.transpose(0, 2, 1).reshape(-1, kernel.shape[1]))
    if bias is not None:
        layer.bias = _parameter(bias.reshape(-1))
    return layer
