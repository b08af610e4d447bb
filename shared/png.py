"""PNG, written: 8-bit grey or RGB, from bare pixels and without a library.

Source: Portable Network Graphics (PNG) Specification, W3C Recommendation, sections 5 and 11.2.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}


def encode(pixels: bytes, height: int, width: int, channels: int) -> bytes:
    """Return an image as a PNG file.

    Args:
        pixels: in C order [H, W, C].
        height, width: in pixels.
        channels: 1 for grey, 3 for RGB.

    Raises:
        ValueError: the pixels are not as many as that.
    """
    row_bytes = width * channels
    if len(pixels) != height * row_bytes:
        raise ValueError(f"Must be {height * row_bytes} bytes of pixels. Received: {len(pixels)}.")
    rows = [pixels[start : start + row_bytes] for start in range(0, len(pixels), row_bytes)]
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 6)  # 0: unfiltered
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def as_url(pixels: bytes, height: int, width: int, channels: int) -> str:
    """Return an image as a `data:` URL; raises as `encode`."""
    png = encode(pixels, height, width, channels)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def montage(
    images: Sequence[bytes], height: int, width: int, channels: int, *, most_side: int
) -> bytes:
    """Return images side by side as one PNG file.

    Args:
        images: each its pixels in C order [H, W, C].
        height, width, channels: shape of each.
        most_side: larger images are made smaller, by leaving out rows and columns.
    """
    step = -(-max(height, width) // most_side)
    rows = range(0, height, step)
    columns = [slice(place * channels, (place + 1) * channels) for place in range(0, width, step)]
    parts = []
    for row in rows:
        start = row * width * channels
        for image in images:
            line = image[start : start + width * channels]
            parts.append(line if step == 1 else b"".join(line[column] for column in columns))
    return encode(b"".join(parts), len(rows), len(columns) * len(images), channels)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
