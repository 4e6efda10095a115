"""Grids over sections of a config."""

import itertools
from collections.abc import Mapping
from typing import Any

from mtl.errors import InputError, unknown_name

SECTIONS = ("dataset", "train", "search")
"""Keys of `config.sweep`: two grids, and the ranges of `mtl.sweep.search`."""


def grid(config: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
    """The points of a grid of `config.sweep`.

    Args:
      config: a plain config.
      section: `dataset` or `train`.

    Returns:
      The swept values of every point; one point without values where nothing is swept.

    Raises:
      InputError: a key is unknown or a value has the wrong type.
    """
    for key in config["sweep"]:
        if key not in SECTIONS:
            raise unknown_name("section of config.sweep:", key, SECTIONS)
    axes = config["sweep"].get(section, {})
    if section == "train" and "dtype" in axes:
        raise InputError("config.sweep.train.dtype cannot be swept; set config.train.dtype per study")
    for key, values in axes.items():
        if key not in config[section]:
            raise unknown_name(f"config.sweep.{section} key", key, config[section])
        if not isinstance(values, list | tuple) or not values:
            raise InputError(
                f"config.sweep.{section}.{key} is {values!r}, expected a tuple of values such as (1, 2)"
            )
        kind = type(config[section][key])
        if kind in (int, float, str, bool):
            for v in values:
                if not isinstance(v, (int, float) if kind is float else kind):
                    raise InputError(f"config.sweep.{section}.{key} has {v!r}, expected {kind.__name__}")
    return [dict(zip(axes, v, strict=True)) for v in itertools.product(*axes.values())]
