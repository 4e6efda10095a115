"""The config of a study: typed, locked, with the same keys in every study."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from mtl.errors import InputError, unknown_name
from mtl.train.settings import TrainSettings

KEYS = ("name", "dataset", "models", "model", "weightings", "seeds", "train", "sweep", "report")
REPORT_DEFAULTS: dict[str, Any] = {"baseline": "single_task", "reference": "", "claims": (), "conditions": ()}

Spec = str | Mapping[str, Any]


def study_config(
    name: str,
    dataset: Mapping[str, Any],
    models: Sequence[Spec],
    weightings: Sequence[Spec],
    *,
    model: Mapping[str, Any] | None = None,
    seeds: int = 3,
    train: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Mapping[str, Any]] | None = None,
    report: Mapping[str, Any] | None = None,
) -> config_dict.ConfigDict:
    """Makes a study's config; every `get_config()` in `experiments/` returns one.

    Args:
      name: the study's name and the default folder of its results.
      dataset: `name` of the data set, its loader's arguments, and `resample`: whether every seed draws
        its own data set (generators only).
      models: presets, or mappings with `name`, arguments and an optional `label`.
      weightings: likewise.
      model: arguments for every model that takes them, such as `embedding_dim`; a spec's own come first.
      seeds: number of seeds, 0 … seeds−1, the same for every method.
      train: keys of `TrainSettings`.
      sweep: grids over arguments, `{"dataset": {argument: values}, "train": {key: values}}`, or a search,
        `{"search": {"train": {key: range}, …}}`; its keys are those of `mtl.sweep.space.DEFAULTS`.
      report: `baseline`, the model that Δm compares with ("" for none; it is added to the study), and
        `reference`, the name of a published table to show beside the results, `claims`, which
        `mtl.report.claim_tests` describes, and `conditions`, keys of `sweep["train"]` whose values are
        compared, each by itself, and not tuned.

    Returns:
      A locked `ConfigDict` with the keys of `KEYS`.
    """
    settings = TrainSettings()._asdict()
    for key, value in (train or {}).items():
        if key not in settings:
            raise unknown_name("key in train:", key, settings)
        kind = type(settings[key])
        wrong = isinstance(value, bool) != (kind is bool)
        if wrong or not isinstance(value, (int, float) if kind is float else kind):
            raise InputError(f"train.{key} is {value!r}, expected {kind.__name__}")
        settings[key] = kind(value)
    config = config_dict.ConfigDict(
        {
            "name": name,
            "dataset": {"resample": False, **dataset},
            "models": tuple(models),
            "model": dict(model or {}),
            "weightings": tuple(weightings),
            "seeds": seeds,
            "train": settings,
            "sweep": {
                section: {k: tuple(v) if isinstance(v, list) else v for k, v in grid.items()}
                for section, grid in {"dataset": {}, "train": {}, **(sweep or {})}.items()
            },
            "report": {**REPORT_DEFAULTS, **(report or {})},
        }
    )
    return config.lock()


def plain(config: Any) -> Any:
    """Turns a config into dicts, lists and scalars, as `config.json` holds them."""
    if isinstance(config, config_dict.ConfigDict):
        return {k: plain(config[k]) for k in sorted(config)}
    if isinstance(config, Mapping):
        return {str(k): plain(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return [plain(v) for v in config]
    return config


def check_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the keys and types that hold for every study.

    Args:
      config: a plain config, from `plain` or from `config.json`.

    Returns:
      The same.

    Raises:
      InputError: a key is missing or unknown, or a value has the wrong type.
    """
    for key in config:
        if key not in KEYS:
            raise unknown_name("config key", key, KEYS)
    for key in KEYS:
        if key not in config:
            raise InputError(f"config has no key {key!r}; every study has {', '.join(KEYS)}")
    name = config["name"]
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise InputError(f"config.name is {name!r}, expected a name without '/' that can be a folder's")
    seeds = config["seeds"]
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise InputError(f"config.seeds is {seeds!r}, expected a count of at least 1")
    for key in ("models", "weightings"):
        if not config[key]:
            raise InputError(f"config.{key} is empty, expected at least one name")
        for i, spec in enumerate(config[key]):
            if not isinstance(spec, str | Mapping):
                raise InputError(f"config.{key}[{i}] is {spec!r}, expected a name or a mapping with a name")
            if isinstance(spec, Mapping) and not isinstance(spec.get("name"), str):
                raise InputError(f"config.{key}[{i}] has no 'name': {dict(spec)!r}")
    for section in ("dataset", "model", "train", "sweep", "report"):
        if not isinstance(config[section], Mapping):
            raise InputError(f"config.{section} is {config[section]!r}, expected a mapping")
    for key in config["report"]:
        if key not in REPORT_DEFAULTS:
            raise unknown_name("key in config.report:", key, REPORT_DEFAULTS)
    swept = config["sweep"].get("train") or {}
    for key in config["report"].get("conditions") or ():
        if key not in swept:
            raise InputError(
                f"config.report.conditions names {key!r}, which config.sweep.train does not sweep; "
                f"it sweeps {', '.join(swept) or 'nothing'}"
            )
    return dict(config)


def label(spec: Spec) -> str:
    """The name under which a model or weighting is reported.

    Args:
      spec: a name, or a mapping with `name`, arguments and an optional `label`.

    Returns:
      The label if there is one, else the name, followed by the arguments in parentheses if there are
      any, as in `mgda(tap=True)`.
    """
    if isinstance(spec, str):
        return spec
    if "label" in spec:
        return str(spec["label"])
    arguments = [f"{k}={_short(v)}" for k, v in spec.items() if k != "name"]
    return spec["name"] + (f"({', '.join(arguments)})" if arguments else "")


def without_label(spec: Spec) -> Spec:
    """The spec as a builder takes it."""
    return spec if isinstance(spec, str) else {k: v for k, v in spec.items() if k != "label"}


def hparams(values: Mapping[str, Any]) -> str:
    """Swept arguments as the `hparams` column has them: `key=value;key=value`, sorted by key."""
    return ";".join(f"{k}={_short(values[k])}" for k in sorted(values))


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ",".join(f"{k}:{_short(v)}" for k, v in value.items()) + ")"
    if isinstance(value, list | tuple):
        return "(" + ",".join(_short(v) for v in value) + ")"
    return str(value).replace(";", ",").replace("=", ":")
