"""Methods that are one by theory when there are two tasks."""

from typing import Any

from mtl.report.workdir import Method, Study

SAME_DIRECTION: dict[str, dict[str, dict[str, tuple[Any, Any]]]] = {
    "the bisector of the two gradients": {
        "nash_mtl": {},
        "imtl_g": {},
        "config": {},
        "fairgrad": {"alpha": (1.0, 1.0), "preference": (1.0, 1.0)},
        "mgda": {"normalizer": ("none", "l2"), "convention": ("raw", "scaled")},
        "db_mtl": {"beta": (0.9, 0.0)},
        "ntkmtl": {"exponent": (0.5, 0.5)},
    },
    "each gradient freed of its conflict with the other": {
        "pcgrad": {},
        "upgrad": {"preference": (None, None)},
    },
}
"""Direction → weighting → argument → (its default, the value at which the weighting takes the direction).

The identities are tested in `tests/weightings`; docs/weightings.md, section Identities.
"""

CHANGES_ALL = ("tap", "smooth")
"""Arguments that change the direction of any method: only methods that agree in them are one."""


def same_directions(study: Study, methods: list[Method]) -> list[tuple[str, list[Method]]]:
    """Finds methods of one model that take one direction by theory.

    Args:
      study: the study, whose config says what a label stands for.
      methods: the methods of a group, without the baseline.

    Returns:
      (direction, two or more methods of each model concerned); empty unless there are two tasks. Their
      steps differ in length, and with an optimiser such as Adam hardly in that.
    """
    if len(study.tasks) != 2:
        return []
    specs = _specs(study)
    found: dict[tuple[str, str, str], list[Method]] = {}
    for method in methods:
        name, arguments = specs.get(method.weighting, (method.weighting, {}))
        for direction, members in SAME_DIRECTION.items():
            if name in members and _takes_it(members[name], arguments):
                common = str([arguments.get(key) for key in CHANGES_ALL])
                found.setdefault((direction, method.model, common), []).append(method)
    merged: dict[str, list[Method]] = {}
    for (direction, _, _), same in found.items():
        if len(same) > 1:
            merged.setdefault(direction, []).extend(same)
    return list(merged.items())


def _specs(study: Study) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label → name and arguments of a weighting."""
    specs: dict[str, tuple[str, dict[str, Any]]] = {}
    labels = {m.weighting for table in study.tables.values() for m in table}
    for spec in study.config["config"].get("weightings") or ():
        if isinstance(spec, dict) and "name" in spec:
            arguments = {k: v for k, v in spec.items() if k not in ("name", "label")}
            own = {f"{k}={v}" for k, v in arguments.items()}
            for label in labels:
                # A label made of the arguments has them in the order of the study, config.json sorts them.
                name, _, rest = label.partition("(")
                made = name == spec["name"] and set(rest.removesuffix(")").split(", ")) == own
                if label == spec.get("label") or ("label" not in spec and made):
                    specs[label] = (str(spec["name"]), arguments)
    return specs


def _takes_it(needed: dict[str, tuple[Any, Any]], arguments: dict[str, Any]) -> bool:
    return all(arguments.get(key, default) == value for key, (default, value) in needed.items())
