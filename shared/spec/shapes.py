"""Output shapes and parameter counts, layer by layer, without TensorFlow.

Owns the arithmetic of single layers. Which layers a model has is `shared.spec.architecture`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerShape:
    """One layer, or one block of layers.

    Attributes:
        name: unique in the model.
        kind: Keras's class name; `ResidualBlock` for a block.
        output_shape: without the batch axis.
        parameters: trainable and other weights together.
        values: what it puts out for one image; in a block, what all its layers put out.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    values: int

    def as_dict(self) -> dict[str, Any]:
        """Return the layer as a row of a summary, JSON-compatible."""
        return {
            "name": self.name,
            "kind": self.kind,
            "output_shape": list(self.output_shape),
            "parameters": self.parameters,
        }


class Layers:
    """A growing list of layers; each method appends the layer that its name says.

    Args:
        shape: what reaches the first layer: height, width and channels of an image.

    Attributes:
        rows: the layers so far.
        shape: what the last of them puts out.
    """

    def __init__(self, shape: Shape) -> None:
        self.rows: list[LayerShape] = []
        self.shape = shape

    def same(self, name: str, kind: str, *, parameters: int = 0) -> None:
        """Append a layer that keeps the shape."""
        self._append(name, kind, self.shape, parameters)

    def norm(self, name: str) -> None:
        """Append batch normalisation: scale, shift, and moving mean and variance a channel."""
        self.same(name, "BatchNormalization", parameters=4 * self.shape[-1])

    def pad(self, name: str, *, height: int, width: int) -> None:
        """Append a frame of zeros that adds so many pixels to the image's height and width."""
        old_height, old_width, channels = self.shape
        self._append(name, "ZeroPadding2D", (old_height + height, old_width + width, channels), 0)

    def conv(
        self,
        name: str,
        filters: int,
        *,
        kernel_size: int,
        same_size: bool = True,
        stride: int = 1,
        bias: bool = True,
        field: str = "spec.model.kind",
    ) -> None:
        """Append a convolution.

        Args:
            name: the layer's.
            filters: feature maps that it makes.
            kernel_size: width of the square kernel, in pixels.
            same_size: whether zeros around the image make up for the kernel's width.
            stride: pixels from one place of the kernel to the next.
            bias: whether each feature map has one.
            field: to blame if the kernel is too large.

        Raises:
            InvalidInput: the kernel does not fit into the image.
        """
        height, width, channels = self.shape
        if not same_size:
            if kernel_size > min(height, width):
                raise InvalidInput.of(
                    field,
                    f"The kernel of {kernel_size} x {kernel_size} must fit into the "
                    f"{height} x {width} pixels that reach it.",
                    kernel_size,
                )
            height, width = height - kernel_size + 1, width - kernel_size + 1
        shape = (-(-height // stride), -(-width // stride), filters)
        parameters = (kernel_size * kernel_size * channels + bias) * filters
        self._append(name, "Conv2D", shape, parameters)

    def pool(
        self,
        name: str,
        *,
        size: int = 2,
        stride: int | None = None,
        kind: str = "MaxPooling2D",
        field: str = "spec.model.kind",
        received: Any = None,
    ) -> None:
        """Append pooling over squares.

        Args:
            name: the layer's.
            size: width of a square, in pixels.
            stride: pixels from one square to the next; `size` unless given.
            kind: Keras's class name.
            field, received: to blame if not one square fits.

        Raises:
            InvalidInput: no square fits into the image.
        """
        height, width, channels = self.shape
        if min(height, width) < size:
            raise InvalidInput.of(
                field,
                f"The image is down to {height} x {width} pixels before {name}, "
                f"too small for squares of {size} x {size}.",
                received,
            )
        height, width = ((side - size) // (stride or size) + 1 for side in (height, width))
        self._append(name, kind, (height, width, channels), 0)

    def global_pool(self, name: str, kind: str = "GlobalAveragePooling2D") -> None:
        """Append a layer that leaves one value of each feature map."""
        self._append(name, kind, self.shape[-1:], 0)

    def flatten(self, name: str = "flatten") -> None:
        """Append a layer that lays all values in one row."""
        self._append(name, "Flatten", (math.prod(self.shape),), 0)

    def dense(self, name: str, units: int) -> None:
        """Append a dense layer."""
        (inputs,) = self.shape
        self._append(name, "Dense", (units,), (inputs + 1) * units)

    @contextmanager
    def block(self, name: str) -> Iterator[None]:
        """Append what is appended inside as one row, a residual block."""
        first = len(self.rows)
        yield
        inner, self.rows = self.rows[first:], self.rows[:first]
        parameters = sum(row.parameters for row in inner)
        values = sum(row.values for row in inner)
        self.rows.append(LayerShape(name, "ResidualBlock", self.shape, parameters, values))

    def _append(self, name: str, kind: str, shape: Shape, parameters: int) -> None:
        self.rows.append(LayerShape(name, kind, shape, parameters, math.prod(shape)))
        self.shape = shape
