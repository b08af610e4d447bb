"""A model for Trainyard: convolutions with different kernels side by side."""

from __future__ import annotations

from typing import Any

from keras import layers


def mixed_kernels(images: Any, *, filters: int = 8, largest: int = 5) -> Any:
    """Lay the model over images.

    Args:
        images: Keras tensor, float [N, H, W, C], its pixels scaled as the job says.
        filters: feature maps of each kernel.
        largest: width of the largest kernel, in pixels; odd.

    Returns:
        Keras tensor, float [N, F]: one value of each feature map. Trainyard adds the softmax.
    """
    sizes = range(1, largest + 1, 2)
    maps = [
        layers.Conv2D(filters, size, padding="same", activation="relu", name=f"kernel_{size}")(
            images
        )
        for size in sizes
    ]
    merged = layers.Concatenate(name="merged")(maps) if len(maps) > 1 else maps[0]
    return layers.GlobalMaxPooling2D(name="pool")(merged)
