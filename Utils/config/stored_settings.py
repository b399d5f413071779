"""Stored settings: the settings of a run as `run.json` holds them, back as settings."""

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from Utils.config.groups import GROUPS
from Utils.config.settings import Settings


def stored_settings(values: Mapping[str, Any]) -> Settings:
    """The settings that all experiments have, from the JSON values of a stored run.

    Values of another version that are unknown here are left out, and missing ones are defaults. The options of an
    experiment are not read. Raises `ValueError` or `TypeError` for a value of another kind.
    """
    groups = {}
    for name, group in GROUPS.items():
        fields = (item for item in dataclasses.fields(group) if item.name in values)
        groups[name] = group(**{item.name: _value(item, values[item.name]) for item in fields})
    return Settings(**groups)


def _value(item: dataclasses.Field, value: Any) -> Any:
    if value is None:
        return None
    if item.metadata["sequence"]:
        return tuple(_single(item, part) for part in value)
    return _single(item, value)


def _single(item: dataclasses.Field, value: Any) -> Any:
    kind = item.metadata["kind"]
    return Decimal(value) if kind is Decimal else kind(value) if kind in (int, float) else value
