"""All that is said to Optuna: studies in a storage that processes share, asking, pruning, telling."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl.errors import InputError
from mtl.sweep.space import Axis

try:
    import optuna
    from optuna import Study
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, Trial, TrialState
    from sqlalchemy import create_engine
except ImportError:
    raise InputError(
        "config.sweep.search needs Optuna, which is not installed; pip install 'mtl[search]'"
    ) from None

__all__ = [
    "FrozenTrial",
    "Study",
    "ask",
    "check_url",
    "chosen",
    "mend_journal",
    "open_study",
    "prune_by",
    "summary",
    "tell",
    "wait_for",
]

DISTRIBUTIONS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "uniform": lambda values: FloatDistribution(values[0], values[1]),
    "log": lambda values: FloatDistribution(values[0], values[1], log=True),
    "int": lambda values: IntDistribution(values[0], values[1]),
    "choice": CategoricalDistribution,
}

SAMPLERS: dict[str, Callable[[int], Any]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}

PRUNERS: dict[str, Callable[[], Any]] = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "halving": optuna.pruners.SuccessiveHalvingPruner,
}

JOURNAL = "journal.log"


def check_url(url: str) -> None:
    """Checks that a URL names a kind of database that can be used; it is not opened.

    Args:
      url: such as `sqlite:///search.db`; "" for none.

    Raises:
      InputError: it does not.
    """
    if url:
        try:
            create_engine(url)
        except Exception as e:  # SQLAlchemy's own errors, and whatever the import of a driver raises
            raise _unusable(f"config.sweep.search.storage is {url!r}", e) from None


def _unusable(place: str, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{place}, which cannot be used: {reason}")


def mend_journal(folder: Path) -> None:
    """Cuts off the half line that a write on a full disk may have left.

    Args:
      folder: where the journal is, if there is one.
    """
    path = folder / JOURNAL
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with path.open("r+b") as f:
                f.truncate(whole)


def open_study(folder: Path, url: str, name: str, objectives: int, pruner: str) -> Study:
    """Opens the study of a method, or begins it.

    Args:
      folder: where the journal is.
      url: of a database that stands in the journal's place; "" for none.
      name: the study's.
      objectives: number of values, all maximised.
      pruner: a key of `PRUNERS`.

    Returns:
      The study.

    Raises:
      InputError: the database cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage: Any = (
            optuna.storages.RDBStorage(url)
            if url
            else optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        )
        return optuna.create_study(
            storage=storage,
            study_name=name,
            directions=["maximize"] * objectives,
            pruner=PRUNERS[pruner](),
            load_if_exists=True,
        )
    except (ValueError, optuna.exceptions.StorageInternalError) as e:
        place = f"config.sweep.search.storage is {url!r}" if url else f"the journal is {folder / JOURNAL}"
        raise _unusable(place, e) from None


def ask(study: Study, axes: Sequence[Axis], numbers: range, sampler: str) -> list[FrozenTrial]:
    """Asks for a batch of trials; those that were asked for before are as they were.

    Args:
      study: the method's study.
      axes: what is searched.
      numbers: the trials' numbers; all before them are finished.
      sampler: a key of `SAMPLERS`, seeded by the number, so that a trial depends on the study only.

    Returns:
      The trials.
    """
    distributions = {part.name: DISTRIBUTIONS[part.kind](part.values) for a in axes for part in a.parts}
    for number in range(len(study.get_trials(deepcopy=False)), numbers.stop):
        study.sampler = SAMPLERS[sampler](number)
        study.ask(distributions)
    return study.get_trials()[numbers.start : numbers.stop]


def prune_by(study: Study, numbers: Sequence[int]) -> Callable[[int, list[float | None]], list[bool]]:
    """Lets the study's pruner decide at every look.

    A look that was told before a stop is not told again and has the answer that it had then.

    Args:
      study: the method's study.
      numbers: trial of every run.

    Returns:
      A function of the step and the runs' values that says which runs end.
    """
    trials = study.get_trials()
    before = {n: trials[n].intermediate_values for n in numbers}
    ended = {n: trials[n].user_attrs.get("pruned") for n in numbers}
    live = {n: Trial(study, trials[n]._trial_id) for n in numbers}

    def decide(number: int, step: int, value: float) -> bool:
        end = ended[number]
        if end is not None:
            return step >= end
        if step < max(before[number], default=0):
            return False
        if step not in before[number]:
            live[number].report(value, step)
        if live[number].should_prune():
            live[number].set_user_attr("pruned", step)
            ended[number] = step
            return True
        return False

    def prune(step: int, values: list[float | None]) -> list[bool]:
        return [v is not None and decide(n, step, v) for n, v in zip(numbers, values, strict=True)]

    return prune


def tell(study: Study, trial: FrozenTrial, values: Sequence[float] | None, steps: int, rows: int) -> None:
    """Finishes a trial: complete, pruned, or failed where it has no values.

    Args:
      study: the method's study.
      trial: one of its trials, as `ask` gave it; a finished one is left alone.
      values: its objectives.
      steps: of its runs, unless it was pruned.
      rows: per step.
    """
    if trial.state.is_finished():
        return
    own = Trial(study, trial._trial_id)
    own.set_user_attr("examples", own.user_attrs.get("pruned", steps) * rows)
    if "pruned" in own.user_attrs:
        study.tell(own, state=TrialState.PRUNED)
    elif values is None:
        study.tell(own, state=TrialState.FAIL)
    else:
        study.tell(own, list(values))


def wait_for(study: Study, count: int, seconds: float) -> None:
    """Waits until trials that other processes have finished are in sight here.

    Args:
      study: the method's study.
      count: number of its trials.
      seconds: how long to wait.

    Raises:
      OSError: they did not appear.
    """
    until = time.monotonic() + seconds
    while sum(t.state.is_finished() for t in study.get_trials(deepcopy=False)) < count:
        if time.monotonic() > until:
            raise OSError(f"trials of {study.study_name!r} by another process are out of sight here")
        time.sleep(0.5)


def chosen(study: Study) -> list[FrozenTrial]:
    """The complete trial with the highest value, or with several objectives all that none dominates.

    Args:
      study: the method's study.

    Returns:
      Trials in the order of their numbers, of equal ones the first; an empty list if no trial is complete.
    """
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda t: t.number)
    return [max(complete, key=lambda t: (t.value, -t.number))] if complete else []


def summary(study: Study, arguments: Mapping[int, Any]) -> dict[str, Any]:
    """What is told about the search of a method.

    Args:
      study: the method's study.
      arguments: trial's number → its arguments.

    Returns:
      Its trials and the chosen ones, as `search.json` holds them.
    """
    trials = study.get_trials()
    return {
        "chosen": [t.number for t in chosen(study)],
        "examples": sum(t.user_attrs["examples"] for t in trials),
        "trials": [
            {
                "number": t.number,
                "state": t.state.name.lower(),
                "values": t.values,
                "arguments": arguments[t.number],
                "examples": t.user_attrs["examples"],
            }
            for t in trials
        ],
    }
