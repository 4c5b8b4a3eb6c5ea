"""The decorator for value classes of which several objects are made for every 20 ms of sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def hot_value(cls: type[T]) -> type[T]:
    """Make a slotted dataclass that is frozen for the type checker only, not at run time.

    A frozen dataclass sets each field through `object.__setattr__`: an object with three fields takes 0.46 µs to make
    instead of 0.12 µs, and each frame needs six such objects between the two sockets.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
