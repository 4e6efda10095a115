"""One table over all weightings, crossed with the shared tests in `test_all_weightings.py`.

A row: name in WEIGHTINGS, keyword arguments for `num_tasks` tasks (a function of T), and what holds.
`scales` says how the weights react to all gradients and losses being multiplied by s:
"invariant" (the same weights) or "inverse" (weights divided by s).
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class Row(NamedTuple):
    name: str
    kwargs: Callable[[int], dict[str, Any]]
    scales: str = "invariant"
    uses_gradients: bool = True

    @property
    def id(self) -> str:
        inside = ",".join(f"{k}={v}" for k, v in self.kwargs(3).items() if k != "num_tasks")
        return f"{self.name}({inside})"


def only_tasks(**more: Any) -> Callable[[int], dict[str, Any]]:
    return lambda num_tasks: {"num_tasks": num_tasks, **more}


TABLE = (
    Row("static", lambda t: {"weights": tuple(1.0 + i for i in range(t))}, uses_gradients=False),
    Row("static", only_tasks(weights=2.0, decay=0.9, decay_steps=2), uses_gradients=False),
    Row("loss_norm", only_tasks(), "inverse", uses_gradients=False),
    Row("uwl", only_tasks(), "invariant", uses_gradients=False),
    Row("uwl", only_tasks(freeze_at=3, average_last=2), "invariant", uses_gradients=False),
    Row("mgda", only_tasks()),
    Row("mgda", only_tasks(normalizer="l2")),
    Row("mgda", only_tasks(normalizer="l2", convention="scaled"), "inverse"),
    Row("mgda", only_tasks(normalizer="loss")),
    Row("mgda", only_tasks(normalizer="loss+")),
    Row("pe_ltr", only_tasks()),
    Row("pe_ltr", lambda t: {"floors": tuple(0.5 / t for _ in range(t))}),
    Row("pe_ltr", only_tasks(floors=0.1, exact=True)),
)
