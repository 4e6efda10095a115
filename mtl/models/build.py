"""From a name and arguments to a model; published models are rows of `PRESETS`."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from mtl.errors import InputError, unknown_name
from mtl.extractors import EXTRACTORS, SingleTask
from mtl.layers import StackedMLP
from mtl.models.encoders import ENCODERS
from mtl.models.model import MultiTaskModel
from mtl.tasks import task_graph
from mtl.transfers import TRANSFERS

if TYPE_CHECKING:  # Only for the annotation: models run without the data sets' dependencies.
    from mtl.data import Schema

PRESETS: dict[str, dict[str, str]] = {
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
}

DEFAULT_ENCODER = "columns"

_DROPOUT = {"encoder_dropout": float, "tower_dropout": float}
"""Fields of `MultiTaskModel` itself that a spec may set, and their types."""

_FROM_SCHEMA = ("num_tasks", "num_outputs", "parents", "dtype", "parent", "name")
"""Fields that the schema, `dtype` or Linen fills; a spec cannot set them."""


def build_model(
    spec: str | Mapping[str, Any], schema: "Schema", dtype: DTypeLike = jnp.float32
) -> MultiTaskModel:
    """Builds a model for a data set.

    Args:
      spec: a key of `PRESETS`, or a mapping with that key as `name` and arguments: `encoder` (a key of
        `ENCODERS`, by default `columns`) and its arguments, such as `embedding_dim`; `encoder_dropout` and
        `tower_dropout`, see `MultiTaskModel`; `tower_features` (may be empty); any field of the extractor and
        of the transfer; and `extractor` or `transfer` to replace the preset's. Lists are taken for tuples.
      schema: columns and tasks.
      dtype: dtype of the computation, float32 or bfloat16; parameters and outputs are float32.

    Returns:
      The model, without parameters: `model.init(key, batch)["params"]` makes them.

    Raises:
      InputError: a name or an argument is unknown, a value has the wrong type or range, the dtype is
        another, the schema has no feature, none that suits the encoder, or no task, or its task graph is not
        sound.
    """
    arguments = _as_dict(spec)
    preset = arguments.pop("name")
    parts = {**_look_up("model", preset, PRESETS)}
    parts |= {part: arguments.pop(part) for part in parts if part in arguments}
    encoder = _look_up("encoder", arguments.pop("encoder", DEFAULT_ENCODER), ENCODERS)
    extractor = _look_up("extractor", parts["extractor"], EXTRACTORS)
    transfer = _look_up("transfer", parts["transfer"], TRANSFERS)
    fields = _fields(encoder, extractor, transfer)
    for key, value in arguments.items():
        if key not in fields:
            known = ("encoder", "extractor", "transfer", *fields)
            raise unknown_name(f"argument of model {preset!r}:", key, known)
        arguments[key] = _checked(f"model {preset!r}: {key}", fields[key], value, key)

    if dtype not in ("float32", "bfloat16", jnp.float32, jnp.bfloat16):
        raise InputError(f"dtype is {dtype!r}, expected float32 or bfloat16")
    num_tasks = len(schema.tasks)
    if num_tasks == 0:
        raise InputError("the schema has no task; a model needs at least one")
    if not schema.id_columns and not schema.numeric_columns:
        raise InputError("the schema has neither id nor numeric columns; a model needs a feature")
    return MultiTaskModel(
        encoder=encoder(
            schema,
            (num_tasks,) if extractor is SingleTask else (),
            dtype,
            **_chosen(arguments, _parameters(encoder)),
        ),
        extractor=extractor(num_tasks=num_tasks, dtype=dtype, **_chosen(arguments, _settable(extractor))),
        towers=StackedMLP((num_tasks,), arguments.get("tower_features", (8,)), dtype),
        transfer=transfer(
            parents=task_graph(schema.tasks),
            num_outputs=tuple(task.num_outputs for task in schema.tasks),
            dtype=dtype,
            **_chosen(arguments, _settable(transfer)),
        ),
        **_chosen(arguments, _DROPOUT),
    )


def model_arguments(spec: str | Mapping[str, Any]) -> frozenset[str]:
    """The arguments that a model takes besides `extractor` and `transfer`, `encoder` among them.

    Args:
      spec: as for `build_model`.

    Returns:
      Their names.

    Raises:
      InputError: the preset, encoder, extractor or transfer is unknown.
    """
    arguments = _as_dict(spec)
    parts = _look_up("model", arguments["name"], PRESETS)
    encoder = _look_up("encoder", arguments.get("encoder", DEFAULT_ENCODER), ENCODERS)
    extractor = _look_up("extractor", arguments.get("extractor", parts["extractor"]), EXTRACTORS)
    transfer = _look_up("transfer", arguments.get("transfer", parts["transfer"]), TRANSFERS)
    return frozenset({"encoder", *_fields(encoder, extractor, transfer)})


def _fields(
    encoder: Callable[..., nn.Module], extractor: type[nn.Module], transfer: type[nn.Module]
) -> dict[str, Any]:
    """The arguments of a model and their types, the names of its parts aside."""
    return {
        **_parameters(encoder),
        **_DROPOUT,
        "tower_features": tuple[int, ...],
        **_settable(extractor),
        **_settable(transfer),
    }


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


def _parameters(encoder: Callable[..., nn.Module]) -> dict[str, Any]:
    """The arguments of an encoder that a spec may set, and their types."""
    _, _, _, *own = inspect.signature(encoder).parameters.values()
    return {parameter.name: parameter.annotation for parameter in own}


def _chosen(arguments: dict[str, Any], names: Any) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if key in names}


def _checked(where: str, kind: Any, value: Any, key: str) -> Any:
    """Checks a value by its field's type: integers count something, floats are rates."""
    if kind is bool:
        if not isinstance(value, bool):
            raise InputError(f"{where} is {value!r}, expected true or false")
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
