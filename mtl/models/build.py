"""From a name and arguments to a model; published models are rows of `PRESETS`."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from mtl.errors import InputError, unknown_name
from mtl.extractors import EXTRACTORS, SingleTask
from mtl.layers import StackedMLP
from mtl.models.encoders import ENCODERS
from mtl.models.model import MultiTaskModel
from mtl.side_towers import SIDE_TOWERS
from mtl.tasks import required_tasks, task_graph
from mtl.transfers import TRANSFERS

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema

PRESETS: dict[str, dict[str, Any]] = {
    "single_task": {"extractor": "single_task", "transfer": "independent"},
    "shared_bottom": {"extractor": "shared_bottom", "transfer": "independent"},
    "omoe": {"extractor": "omoe", "transfer": "independent"},
    "mmoe": {"extractor": "mmoe", "transfer": "independent"},
    "cgc": {"extractor": "cgc", "transfer": "independent"},
    "ple": {"extractor": "ple", "transfer": "independent"},
    "attention_gate": {"extractor": "attention_gate", "transfer": "independent"},
    "dselect_k": {"extractor": "dselect_k", "transfer": "independent"},
    "snr": {"extractor": "snr", "transfer": "independent"},
    "cross_stitch": {"extractor": "cross_stitch", "transfer": "independent"},
    "dbmtl1": {"extractor": "shared_bottom", "transfer": "bayesian"},
    "dbmtl2": {"extractor": "mmoe", "transfer": "bayesian"},
    "clicks_only": {"extractor": "single_task", "transfer": "product", "supervise": "conditional"},
    "esmm": {"extractor": "shared_bottom", "transfer": "product"},
    "esm2": {"extractor": "shared_bottom", "transfer": "esm2"},
    "kl_bound": {"extractor": "shared_bottom", "transfer": "kl_bound"},
    "aitm": {"extractor": "shared_bottom", "transfer": "ait"},
    "ple_ait": {"extractor": "ple", "transfer": "ait"},
    "nmtr": {"encoder": "ncf", "extractor": "shared_bottom", "transfer": "cascade"},
    "feed_output": {"extractor": "shared_bottom", "transfer": "feed_output"},
    "separate_domains": {
        "extractor": "separate_domains",
        "transfer": "independent",
        "tower_features": (),
    },
    "star": {"extractor": "star", "transfer": "independent", "side_tower": "domain"},
    "dbmtl3": {"extractor": "scenario_experts", "transfer": "bayesian"},
    "din": {"encoder": "din", "extractor": "shared_bottom", "transfer": "independent"},
    "dupn": {"encoder": "dupn", "extractor": "shared_bottom", "transfer": "independent"},
    "dmr1": {
        "encoder": "din",
        "extractor": "shared_bottom",
        "transfer": "independent",
        "side_tower": "match",
    },
    "dmr2": {
        "encoder": "crosses",
        "extractor": "shared_bottom",
        "transfer": "independent",
        "side_tower": "channels",
    },
    "dmr2_two_stage": {
        "encoder": "crosses",
        "extractor": "shared_bottom",
        "transfer": "independent",
        "side_tower": "channels",
        "stage": "two_stage",
    },
    "rui1": {"extractor": "shared_bottom", "transfer": "independent"},
    "rui2": {"extractor": "shared_bottom", "transfer": "independent", "side_tower": "refer"},
    "rui3": {"extractor": "shared_bottom", "transfer": "independent", "side_tower": "rui"},
}
"""The parts of published models, and arguments that they set; a spec's own come first."""

DEFAULT_ENCODER = "columns"

_DROPOUT = {"encoder_dropout": float, "tower_dropout": float}
"""Fields of `MultiTaskModel` itself that a spec may set, and their types."""

_FROM_SCHEMA = (
    *("num_tasks", "num_outputs", "num_domains", "parents", "requires", "kinds", "dtype"),
    *("parent", "name"),
)
"""Fields that the schema, `dtype` or Linen fills; a spec cannot set them."""

_DTYPES = ("float32", jnp.float32, "bfloat16", jnp.bfloat16, "float64", jnp.float64)


def build_model(
    spec: str | Mapping[str, Any], schema: "Schema", dtype: DTypeLike = jnp.float32
) -> MultiTaskModel:
    """Builds a model for a data set.

    Args:
      spec: a key of `PRESETS`, or a mapping with that key as `name` and arguments: `encoder` (a key of
        `ENCODERS`, by default `columns`) and its arguments, such as `embedding_dim`; `encoder_dropout` and
        `tower_dropout`, see `MultiTaskModel`; `tower_features` (may be empty); any field of the extractor, of
        the transfer and of the side tower; and `extractor`, `transfer` or `side_tower` to replace the
        preset's. Lists are taken for tuples.
      schema: columns and tasks.
      dtype: dtype of the computation: float32, bfloat16 or, where JAX has it enabled, float64. Parameters
        begin in float32; outputs are float32 or wider.

    Returns:
      The model, without parameters: `model.init(key, batch)["params"]` makes them.

    Raises:
      InputError: a name or an argument is unknown, a value has the wrong type or range, the dtype is
        another, the schema has no feature, none that suits the encoder, or no task, its task graph is not
        sound, or it lacks the scenarios or required tasks that a part reads.
    """
    arguments = _as_dict(spec)
    preset = arguments["name"]
    parts, arguments = _parts(arguments)
    fields = _fields(parts)
    for key, value in arguments.items():
        if key not in fields:
            raise unknown_name(f"argument of model {preset!r}:", key, (*_AXES, *fields))
        arguments[key] = _checked(f"model {preset!r}: {key}", fields[key], value, key)

    if dtype not in _DTYPES:
        raise InputError(f"dtype is {dtype!r}, expected float32, bfloat16 or float64")
    if dtype in _DTYPES[-2:] and jnp.result_type(float) != jnp.float64:
        raise InputError("dtype is float64, which JAX has disabled; set jax_enable_x64 first")
    if not schema.tasks:
        raise InputError("the schema has no task; a model needs at least one")
    if not schema.id_columns and not schema.numeric_columns:
        raise InputError("the schema has neither id nor numeric columns; a model needs a feature")
    given = _given(schema, dtype)
    domains = [c for c, column in enumerate(schema.id_columns) if column.role == "domain"]
    made: dict[str, Any] = {}
    for axis, part in parts.items():
        if part is None:
            continue
        if axis == "encoder":
            stack = (len(schema.tasks),) if parts["extractor"] is SingleTask else ()
            made[axis] = part(schema, stack, dtype, **_chosen(arguments, _parameters(part)))
        elif axis == "side_tower":
            made[axis] = part(schema, dtype, **_chosen(arguments, _parameters(part)))
        else:
            names = {f.name for f in dataclasses.fields(part)}
            if "num_domains" in names and given["num_domains"] < 2:
                raise InputError(
                    f"model {preset!r}: {axis} {part.__name__} reads scenarios, but the data set has no id "
                    "column with role 'domain' and at least one scenario besides 0; choose another model or "
                    "data set"
                )
            if getattr(part, "NEEDS_REQUIRED", False) and len(schema.tasks) > 1:
                _check_requires(f"model {preset!r}: {axis} {part.__name__}", schema)
            made[axis] = part(**_chosen(given, names), **_chosen(arguments, _settable(part)))
    return MultiTaskModel(
        towers=StackedMLP((len(schema.tasks),), arguments.get("tower_features", (8,)), dtype),
        domain_column=domains[0] if domains else None,
        **made,
        **_chosen(arguments, _DROPOUT),
    )


def _given(schema: "Schema", dtype: DTypeLike) -> dict[str, Any]:
    """What the schema fills in, of which a part takes the fields that it has."""
    domains = [column.vocab_size for column in schema.id_columns if column.role == "domain"]
    return {
        "num_tasks": len(schema.tasks),
        "num_outputs": tuple(task.num_outputs for task in schema.tasks),
        "num_domains": domains[0] if domains else 0,
        "parents": task_graph(schema.tasks),
        "requires": required_tasks(schema.tasks),
        "kinds": tuple(task.kind for task in schema.tasks),
        "dtype": dtype,
    }


def _check_requires(where: str, schema: "Schema") -> None:
    if not any(task.requires for task in schema.tasks):
        raise InputError(
            f"{where} multiplies the probabilities of events that imply each other, but no task of the data "
            "set requires another; choose another transfer, such as 'bayesian'"
        )


_AXES: dict[str, Mapping[str, Any]] = {
    "encoder": ENCODERS,
    "extractor": EXTRACTORS,
    "transfer": TRANSFERS,
    "side_tower": SIDE_TOWERS,
}
"""The parts of a model that a spec may replace."""


def _parts(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits a spec into the model's parts and the arguments, the preset's own included."""
    rest = dict(arguments)
    row = {"encoder": DEFAULT_ENCODER, "side_tower": "none"}
    row |= _look_up("model", rest.pop("name"), PRESETS) | rest
    names = {axis: row.pop(axis) for axis in _AXES}
    return {axis: _look_up(axis.replace("_", " "), names[axis], _AXES[axis]) for axis in _AXES}, row


def model_arguments(spec: str | Mapping[str, Any]) -> frozenset[str]:
    """The arguments that a model takes besides `extractor`, `transfer` and `side_tower`.

    Args:
      spec: as for `build_model`.

    Returns:
      Their names.

    Raises:
      InputError: the preset, encoder, extractor, transfer or side tower is unknown.
    """
    parts, _ = _parts(_as_dict(spec))
    return frozenset({"encoder", *_fields(parts)})


def _fields(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a model and their types, the names of its parts aside."""
    fields = {**_parameters(parts["encoder"]), **_DROPOUT, "tower_features": tuple[int, ...]}
    if parts["side_tower"] is not None:
        fields |= _parameters(parts["side_tower"])
    return fields | _settable(parts["extractor"]) | _settable(parts["transfer"])


def _as_dict(spec: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(spec, str):
        return {"name": spec}
    try:
        arguments = dict(spec)
    except (TypeError, ValueError):
        raise InputError(f"model {spec!r}: expected a name or a mapping with 'name' and arguments") from None
    if "name" not in arguments:
        raise InputError(f"model {arguments!r}: 'name' is missing; set it to a preset's name")
    return arguments


def _look_up(what: str, name: object, known: Mapping[str, Any]) -> Any:
    if not isinstance(name, str) or name not in known:
        raise unknown_name(what, name, known)
    return known[name]


def _settable(module: type[nn.Module]) -> dict[str, Any]:
    """The fields of a module that a spec may set, and their types."""
    return {f.name: f.type for f in dataclasses.fields(module) if f.name not in _FROM_SCHEMA}


def _parameters(factory: Callable[..., nn.Module]) -> dict[str, Any]:
    """The arguments of an encoder or side tower that a spec may set, and their types: those with defaults."""
    own = inspect.signature(factory).parameters.values()
    return {p.name: p.annotation for p in own if p.default is not inspect.Parameter.empty}


def _chosen(arguments: dict[str, Any], names: Any) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if key in names}


def _checked(where: str, kind: Any, value: Any, key: str) -> Any:
    """Checks a value by its field's type: integers count something, floats are rates."""
    if kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{where} is {value!r}, expected true or false")
        return value
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"{where} is {value!r}, expected one of: {', '.join(get_args(kind))}")
        return value
    if kind is float:
        if not _is_rate(value):
            raise InputError(f"{where} is {value!r}, expected a number in [0, 1)")
        return float(value)
    if kind is int:
        if not _is_count(value):
            raise InputError(f"{where} is {value!r}, expected an integer of at least 1")
        return int(value)
    empty_too = key == "tower_features"
    is_list = isinstance(value, list | tuple) and all(map(_is_count, value))
    if not is_list or not (value or empty_too):
        length = "possibly empty" if empty_too else "non-empty"
        raise InputError(
            f"{where} is {value!r}, expected a {length} list of integers of at least 1, such as (16,)"
        )
    return tuple(int(units) for units in value)


def _is_count(value: Any) -> bool:
    """Whether a value is an integer of at least 1; Python's and NumPy's are both taken."""
    integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return integer and bool(value >= 1)


def _is_rate(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and bool(0 <= value < 1)
