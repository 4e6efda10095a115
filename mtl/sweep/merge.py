"""Several plans as one, so that runs of different plans share programs."""

from collections.abc import Sequence
from typing import Any

from mtl.sweep.plan import Plan, Run, grouped
from mtl.sweep.sources import shapes
from mtl.train import Budget


def merge(plans: Sequence[Plan], before: Plan | None = None) -> Plan:
    """Puts the runs of plans together; what they share is held once.

    Args:
      plans: plans of one study, with the same tasks.
      before: a plan whose models, weightings and data sets keep their numbers, so that programs compiled for
        it serve the new one; its groups are left out.

    Returns:
      The plan of all runs, grouped anew.
    """
    models, weightings, sources, sample = (
        list(getattr(before, field)) if before else []
        for field in ("models", "weightings", "sources", "sample")
    )
    entries: list[tuple[int, Run, Budget]] = []
    for plan in plans:
        m_at = [_place(models, x) for x in plan.models]
        w_at = [_place(weightings, x) for x in plan.weightings]
        s_at = [_place(sources, x) for x in plan.sources]
        known = {shapes(dataset) for dataset in sample}
        sample += [dataset for dataset in plan.sample if shapes(dataset) not in known]
        for group in plan.groups:
            for run in group.runs:
                weighting = None if run.weighting is None else w_at[run.weighting]
                # Which weightings come together changes from call to call; one program each serves all.
                settings = run.settings._replace(share_programs=False)
                moved = run._replace(weighting=weighting, source=s_at[run.source], settings=settings)
                entries.append((m_at[group.model], moved, group.budget))
    merged = plans[0]._replace(
        models=tuple(models),
        weightings=tuple(weightings),
        sources=tuple(sources),
        sample=tuple(sample),
        groups=(),
    )
    return merged._replace(groups=grouped(merged, entries))


def _place(known: list[Any], item: Any) -> int:
    """The index of an item in a list, to which it is added when it is new."""
    if item not in known:
        known.append(item)
    return known.index(item)
