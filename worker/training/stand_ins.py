"""Another computation in a layer's place, while a pass through its model is traced.

The layer keeps its weights, its name and its place in the model: what is saved, scored and exported
knows of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def is_stock(layer: Any, kind: type) -> bool:
    """Whether a layer is of just this class of Keras's, and computes what that does."""
    return type(layer) is kind and "call" not in vars(layer)


@contextmanager
def standing_in(calls: Mapping[Any, Callable[..., Any]]) -> Iterator[None]:
    """Let layers compute something else inside the block.

    Args:
        calls: what takes the place of each layer's `call`, with the arguments of that.
    """
    for layer, call in calls.items():
        # An attribute of the object hides the method of its class; Keras need not track it.
        object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        for layer in calls:
            object.__delattr__(layer, "call")
