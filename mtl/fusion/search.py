"""Search of a formula's exponents and weights on validation, with Optuna."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mtl.errors import InputError, unknown_name
from mtl.fusion.fuse import checked, find
from mtl.metrics import Grouped, gauc, ndcg

OBJECTIVES = {"gauc": lambda s, y, g, k: gauc(s, y, g), "ndcg": lambda s, y, g, k: ndcg(s, y, g, k)}


class FusionSearch(NamedTuple):
    """What a search has found.

    Attributes:
      formula: name of the formula.
      parameters: the best parameters, each a tuple of numbers, as `fuse` takes them.
      value: the objective on validation at these; its maximum over the trials favours it slightly.
      start: the objective at the formula's defaults, which are the first trial.
      trials: per trial `number`, `value` and `parameters`, in order.
    """

    formula: str
    parameters: dict[str, tuple[float, ...]]
    value: float
    start: float
    trials: tuple[dict[str, Any], ...]


def search_fusion(
    formula: str,
    scores: Sequence[ArrayLike] | np.ndarray,
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    objective: str = "gauc",
    k: int | None = 10,
    trials: int = 100,
    seed: int = 0,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> FusionSearch:
    """Chooses parameters by the ranking of one label on the validation split.

    The first trial has the formula's defaults, so that the choice is never worse than these on validation.
    Read the test split once, with the parameters that are chosen.

    Args:
      formula: a key of `FUSIONS`.
      scores: those of the validation rows, as `fuse` takes them.
      labels: `[N]`, 0 or 1 for `gauc`, relevances ≥ 0 for `ndcg`.
      groups: id of every row's user or request `[N]`.
      objective: `gauc` or `ndcg`.
      k: ranks that count for `ndcg`; None for all.
      trials: number of trials.
      seed: of the sampler (TPE); the same seed gives the same trials.
      ranges: parameter's name → lowest and highest value, in the place of the formula's.

    Returns:
      The best parameters, what they are worth, and all trials.

    Raises:
      InputError: a name, a range or a shape is wrong, no group has an order to judge, or Optuna is missing.

    Reference:
      T. Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", KDD 2019.
    """
    chosen = find(formula)
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"trials is {trials!r}, expected an integer >= 1")
    matrix, ids = checked(chosen, formula, scores, groups)
    spans = {name: (p.low, p.high) for name, p in chosen.parameters.items()}
    for name, span in (ranges or {}).items():
        if name not in spans:
            raise unknown_name(f"parameter of {formula}:", name, spans)
        low, high = span
        if not (np.isfinite([low, high]).all() and low < high):
            raise InputError(f"ranges: {name!r} has {span!r}, expected a lowest and a highest number")
        spans[name] = (float(low), float(high))
    sizes = {name: matrix.shape[1] - p.fewer for name, p in chosen.parameters.items()}

    def worth(parameters: Mapping[str, Sequence[float]]) -> Grouped:
        vectors = {name: np.asarray(values) for name, values in parameters.items()}
        return OBJECTIVES[objective](chosen.function(matrix, ids, **vectors), labels, ids, k)

    defaults = {
        name: tuple([float(np.clip(p.default, *spans[name]))] * sizes[name])
        for name, p in chosen.parameters.items()
    }
    if not worth(defaults).groups:
        raise InputError(
            f"no group has labels that {objective} can judge; of each at least one needs a positive row"
            + (" and a negative one" if objective == "gauc" else "")
        )
    table = _trials(worth, defaults, spans, trials, seed)
    best = max(table, key=lambda trial: (trial["value"], -trial["number"]))
    return FusionSearch(formula, best["parameters"], best["value"], table[0]["value"], table)


def _trials(worth, defaults, spans, number: int, seed: int) -> tuple[dict[str, Any], ...]:
    """Asks for trials one after the other and tells what each is worth."""
    try:
        import optuna
    except ImportError:
        raise InputError(
            "search_fusion needs Optuna, which is not installed; pip install 'mtl[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({f"{name}.{i}": v for name, own in defaults.items() for i, v in enumerate(own)})
    table = []
    for _ in range(number):
        trial = study.ask()
        parameters = {
            name: tuple(trial.suggest_float(f"{name}.{i}", *spans[name]) for i in range(len(own)))
            for name, own in defaults.items()
        }
        value = worth(parameters).value
        study.tell(trial, value)
        table.append({"number": trial.number, "value": value, "parameters": parameters})
    return tuple(table)
