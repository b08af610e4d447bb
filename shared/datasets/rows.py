"""Single images and labels of a version, straight from its files: by their place, without NumPy.

All files are `.npy` of our own making: a header, then rows of equal length. So a row is a range of
bytes, which any store can read without the rest.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from shared import artifacts
from shared.artifacts import ArtifactStore

_LABEL_BYTES = 8
_ORDER_BYTES = 4
_HEADER_START = 10


@dataclass(frozen=True)
class VersionFiles:
    """The files of a version, for one person who waits: all reads together are one glance.

    Attributes:
        store: where they lie.
        path: their folder in it.
        images: number of images, by part.
        image_bytes: bytes of an image.
        class_counts: number of images, by part and label.
    """

    store: ArtifactStore
    path: str
    images: dict[str, int]
    image_bytes: int
    class_counts: dict[str, list[int]]
    _headers: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    _gives_up_at: float = field(
        default_factory=lambda: time.monotonic() + artifacts.GLANCE_SECONDS,
        repr=False,
        compare=False,
    )

    def pixels(self, part: str, rows: Sequence[int]) -> list[bytes]:
        """Return images, each its pixels in C order [H, W, C]."""
        return self._read(f"x_{part}", rows, self.image_bytes)

    def labels(self, part: str, rows: Sequence[int]) -> list[int]:
        """Return labels."""
        return [_integer(raw, "<q") for raw in self._read(f"y_{part}", rows, _LABEL_BYTES)]

    def mean_images(self, labels: Sequence[int]) -> list[bytes]:
        """Return the mean training images of some classes, as `pixels` does."""
        return self._read("means", labels, self.image_bytes)

    def draw(self, part: str, count: int, seed: int, label: int | None = None) -> list[int]:
        """Return different rows at random, at most as many as there are.

        Args:
            part: `train` or `test`.
            count: how many.
            seed: another one, another draw.
            label: only images of this class.
        """
        dice = random.Random(seed)
        if label is None:
            total = self.images[part]
            return dice.sample(range(total), min(count, total))
        starts = [0, *accumulate(self.class_counts[part])]
        own = range(starts[label], starts[label + 1])
        places = dice.sample(own, min(count, len(own)))
        return [_integer(raw, "<i") for raw in self._read(f"order_{part}", places, _ORDER_BYTES)]

    def _read(self, array: str, rows: Sequence[int], row_bytes: int) -> list[bytes]:
        if not rows:
            return []
        path = f"{self.path}/{array}.npy"
        start = self._header_bytes(path)
        places = [start + row * row_bytes for row in rows]
        return self._ranges(path, [(place, place + row_bytes) for place in places])

    def _header_bytes(self, path: str) -> int:
        """Return the length of an array's header; of a version's file it is always the same."""
        if path not in self._headers:
            (head,) = self._ranges(path, [(0, _HEADER_START)])
            self._headers[path] = _HEADER_START + _integer(head[8:], "<H")
        return self._headers[path]

    def _ranges(self, path: str, spans: list[tuple[int, int]]) -> list[bytes]:
        return self.store.ranges(path, spans, seconds=self._gives_up_at - time.monotonic())


def _integer(raw: bytes, code: str) -> int:
    return int(struct.unpack(code, raw)[0])
