"""One table over all weightings, crossed with the shared tests in `test_all_weightings.py`.

A row: name in WEIGHTINGS, keyword arguments for `num_tasks` tasks (a function of T), and what holds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class Row(NamedTuple):
    """What the shared tests need to know about a method.

    Attributes:
      name: in WEIGHTINGS.
      kwargs: arguments as a function of T.
      power: in the scaling law a(s · gradients, s · losses) = s^power a; None where the definition has none.
      uses_gradients: whether the weights depend on the gradients.
      weighted: whether the update is Σ weights_t g_t with this step's gradients.
      symmetric: whether the order of the tasks plays no role; not where the order is drawn or given.
    """

    name: str
    kwargs: Callable[[int], dict[str, Any]]
    power: float | None = 0.0
    uses_gradients: bool = True
    weighted: bool = True
    symmetric: bool = True

    @property
    def id(self) -> str:
        inside = ",".join(f"{k}={v}" for k, v in self.kwargs(3).items() if k != "num_tasks")
        return f"{self.name}({inside})"


def only_tasks(**more: Any) -> Callable[[int], dict[str, Any]]:
    return lambda num_tasks: {"num_tasks": num_tasks, **more}


def losses_only(name: str, power: float | None = 0.0, symmetric: bool = True, **more: Any) -> Row:
    return Row(name, only_tasks(**more), power, uses_gradients=False, symmetric=symmetric)


TABLE = (
    losses_only("ew"),
    Row(
        "static",
        lambda t: {"weights": tuple(1.0 + i for i in range(t))},
        uses_gradients=False,
        symmetric=False,
    ),
    losses_only("static", weights=2.0, decay=0.9, decay_steps=2),
    Row(
        "alternating",
        lambda t: {"num_tasks": t, "phase": (3,) + (1,) * (t - 1)},
        uses_gradients=False,
        symmetric=False,
    ),
    losses_only("uwl"),
    losses_only("uwl", freeze_at=3, average_last=2),
    losses_only("gls"),
    losses_only("si", -1.0),
    losses_only("dwa", steps_per_epoch=1),
    losses_only("dwa", steps_per_epoch=2, temperature=0.5),
    losses_only("rlw", symmetric=False),
    losses_only("imtl_l"),
    losses_only("famo"),
    losses_only("stch", -1.0, steps_per_epoch=1, warmup_epochs=1),
    losses_only("stch", -1.0, steps_per_epoch=1, warmup_epochs=0, mu=0.1),
    losses_only("stch", None, steps_per_epoch=1, form="generic"),
    losses_only("go4align", None),
    losses_only("go4align", None, num_groups=3),
    losses_only("slaw"),
    losses_only("group_dro", None),
    losses_only("loss_norm", -1.0),
    Row("mgda", only_tasks()),
    Row("mgda", only_tasks(normalizer="l2")),
    Row("mgda", only_tasks(normalizer="l2", convention="scaled"), -1.0),
    Row("mgda", only_tasks(normalizer="loss")),
    Row("mgda", only_tasks(normalizer="loss+")),
    Row("pe_ltr", only_tasks()),
    Row("pe_ltr", lambda t: {"floors": tuple(0.5 / t for _ in range(t))}),
    Row("pe_ltr", only_tasks(floors=0.1, exact=True)),
    Row("imtl_g", only_tasks()),
    Row("imtl_g", only_tasks(total="abs_sum")),
    Row("config", only_tasks()),
    Row("gradnorm", only_tasks()),
    Row("gradnorm", only_tasks(alpha=0.12, learning_rate=0.1)),
    Row("pcgrad", only_tasks(), symmetric=False),
    Row("pcgrad", only_tasks(reduction="mean"), symmetric=False),
    Row("gradvac", only_tasks(), symmetric=False),
    Row("cagrad", only_tasks()),
    Row("cagrad", only_tasks(c=0.0)),
    Row("cagrad", only_tasks(c=1.5, rescale="none")),
    Row("nash_mtl", only_tasks(), -1.0),
    Row("nash_mtl", only_tasks(max_norm=None), -1.0),
    Row("nash_mtl", only_tasks(update_every=2), -1.0),
    Row("fairgrad", only_tasks(), -1.0),
    Row("fairgrad", only_tasks(alpha=2.0), -4.0 / 3.0),
    Row("fairgrad", lambda t: {"num_tasks": t, "preference": tuple(1.0 for _ in range(t))}, -1.0),
    Row("aligned_mtl", only_tasks()),
    Row("aligned_mtl", only_tasks(preference=1.0, scale="median")),
    Row("aligned_mtl", only_tasks(scale="mean")),
    Row("upgrad", only_tasks()),
    Row("upgrad", only_tasks(preference=1.0)),
    Row("dual_proj", only_tasks()),
    Row("pcd", only_tasks(), symmetric=False),
    Row("pcd", lambda t: {"num_tasks": t, "tau": 0.7, "beta": 0.5, "primary": t - 1}, symmetric=False),
    Row("ntkmtl", only_tasks()),
    Row("db_mtl", only_tasks(), -1.0, weighted=False),
    Row("db_mtl", only_tasks(beta=0.0), -1.0),
    Row("db_mtl", only_tasks(beta=0.5, sigma=0.5), -1.0, weighted=False),
    Row("moco", only_tasks(), None, weighted=False),
    Row("moco", only_tasks(normalizer="unit", rho=0.1), weighted=False),
    Row("moco", only_tasks(normalizer="none"), None, weighted=False),
    Row("modo", only_tasks(), None),
    Row("sdmgrad", only_tasks(learning_rate=0.5)),
    Row("excess_mtl", only_tasks()),
    Row("excess_mtl", only_tasks(step_size=1.0)),
    Row("graddrop", only_tasks(), weighted=False),
    Row("graddrop", only_tasks(leak=0.3), weighted=False),
)
