"""A zip of pictures, a folder a class: `cat/1.png`, or `train/cat/1.png` and `test/cat/7.png`.

PNG, JPEG and WebP, of any size: all are brought to one. What decides is looked up in the files'
headers first, so that the pixels are decoded once. Source of the decoders: Pillow.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from shared.datasets.report import Part
from shared.limits import Limits
from shared.spec.dataset_import import LARGEST_SIDE, SMALLEST_SIDE, ImportOptions
from worker.importing.build import Chunk
from worker.importing.context import Context
from worker.importing.faults import BadFile, bad, shown
from worker.importing.folders import places
from worker.importing.labels import spelling
from worker.importing.sources import Source, member, members, open_zip

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

_FORMATS = ("PNG", "JPEG", "WEBP")
# What Pillow raises over a picture, or its EXIF, that is broken.
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error)
_CHUNK_BYTES = 16 << 20
_GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "F"})
# What pictures of different sizes are brought to unless one is asked for.
_USUAL_SIDE = 64
# The orientations of EXIF that lay a picture on its side.
_ON_THEIR_SIDE = frozenset({5, 6, 7, 8})

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture in an archive, and what its path says."""

    source: Source
    part: Part | None
    class_name: str


def read_pictures(sources: list[Source], context: Context) -> Iterator[Chunk]:
    """Read the pictures of some archives; arguments and errors as in `tables`."""
    options, limits = context.options, context.limits
    book, notes = context.book, context.notes
    with contextlib.ExitStack() as stack:
        archives = [stack.enter_context(open_zip(source)) for source in sources]
        pictures = [
            picture
            for source, archive in zip(sources, archives, strict=True)
            for picture in list_pictures(source, archive, limits, notes)
        ]
        _check_spellings(pictures)
        pictures.sort(key=_part_key)  # each archive may hold both parts
        height, width, grey = _decide(pictures, options, limits, notes)
        at_once = max(1, _CHUNK_BYTES // (height * width * (1 if grey else 3)))
        done = 0
        for stretch in _stretches(pictures, at_once):
            images = np.stack([_pixels(one, limits, height, width, grey=grey) for one in stretch])
            names = np.array([picture.class_name for picture in stretch], dtype=object)
            files = [picture.source.name for picture in stretch]
            codes = book.encode(names, file=files)
            done += len(images)
            share = done / len(pictures)
            yield Chunk(files[0].split(": ")[0], stretch[0].part, images, codes, share)
        if done != len(pictures):
            raise RuntimeError(f"{len(pictures):,} pictures were to be read. Received: {done:,}.")


def _check_spellings(pictures: list[_Picture]) -> None:
    """Refuse folders that would become one class, though they are called differently."""
    seen: dict[str | None, str] = {}
    for name in dict.fromkeys(picture.class_name for picture in pictures):
        other = seen.setdefault(spelling(name), name)
        if other != name:
            first = next(picture for picture in pictures if picture.class_name == name)
            rule = (
                f"The folders {shown(other)} and {shown(name)} would be the same class: call them "
                "alike, or by names that are not the same number."
            )
            raise bad(first.source.name, rule)


def _stretches(pictures: list[_Picture], at_once: int) -> Iterator[list[_Picture]]:
    """Yield neighbours of the same part, some at once."""
    for _, alike in itertools.groupby(pictures, key=_part_key):
        while stretch := [*itertools.islice(alike, at_once)]:
            yield stretch


def _part_key(picture: _Picture) -> str:
    return picture.part or ""


def list_pictures(
    source: Source, archive: zipfile.ZipFile, limits: Limits, notes: list[str]
) -> list[_Picture]:
    """Return an archive's pictures by part, class and name.

    Raises:
        BadFile: a picture lies in no folder of a class, or there is none.
    """
    entries = members(source, limits, archive)
    own = [entry for entry in entries if entry.filename.lower().endswith(ENDINGS)]
    if not own:
        rule = "An archive of pictures must hold PNG, JPEG or WebP, a folder a class."
        raise bad(source.name, rule, f"{len(entries):,} other files")
    if others := len(entries) - len(own):
        notes.append(f"{source.name}: {others:,} files are no pictures and are left out.")
    found = [
        _Picture(member(source, archive, entry), place.part or source.part, place.class_name)
        for entry, place in zip(
            own, places([entry.filename for entry in own], source.name, notes), strict=True
        )
        if place is not None
    ]
    if len({picture.part for picture in found}) > 1 and any(one.part is None for one in found):
        stray = next(one for one in found if one.part is None)
        rule = "If there is a folder `train` or `test`, every picture must lie in one of the two."
        raise bad(stray.source.name, rule)
    return sorted(found, key=lambda one: (_part_key(one), one.class_name, one.source.name))


def _decide(
    pictures: list[_Picture], options: ImportOptions, limits: Limits, notes: list[str]
) -> tuple[int, int, bool]:
    """Decide on height, width and whether all are grey, from the headers."""
    sizes: Counter[Size] = Counter()
    modes: Counter[str] = Counter()
    for picture in pictures:
        with _open(picture, limits) as image:
            sizes[_shown_size(image, picture.source.name)] += 1
            modes["L" if _has_grey_palette(image) else image.mode] += 1
    grey = set(modes) <= _GREY_MODES if options.colour == "auto" else options.colour == "grey"
    (common_width, common_height), _ = sizes.most_common(1)[0]
    height, width = options.height or options.width, options.width or options.height
    if height is None or width is None:
        fits = all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (common_width, common_height))
        if len(sizes) == 1 and fits:
            height, width = common_height, common_width
        else:
            height = width = _USUAL_SIDE
    if sizes.keys() != {(width, height)}:
        notes.append(
            f"The pictures have {len(sizes):,} size{'s' if len(sizes) > 1 else ''}; all are "
            f"brought to {width} x {height} pixels, cut to that shape around their middle."
        )
    return height, width, grey


def _shown_size(image: Image.Image, name: str) -> Size:
    """Return width and height as they will be once the picture stands upright."""
    width, height = image.size
    try:
        # The method of the base class: that of PNG decodes the pixels.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except _UNREADABLE as error:
        raise _broken(name, error) from error
    return (height, width) if orientation in _ON_THEIR_SIDE else (width, height)


def _has_grey_palette(image: Image.Image) -> bool:
    """Whether a picture's colours are numbered, and all of them are grey."""
    if image.mode != "P" or image.palette is None:
        return False
    mode, data = image.palette.getdata()
    colours = np.frombuffer(data, np.uint8)
    if mode != "RGB" or len(colours) % 3:
        return False
    red, green, blue = colours.reshape(-1, 3).T
    return bool((red == green).all() and (green == blue).all())


def _open(picture: _Picture, limits: Limits) -> Image.Image:
    """Open a picture; its pixels are not decoded yet."""
    name = picture.source.name
    with picture.source.open(limits) as stream:
        data = stream.readall() or b""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (*_UNREADABLE, Image.DecompressionBombError) as error:
        raise _broken(name, error) from error
    width, height = image.size
    if width * height > limits.picture_pixels:
        rule = f"A picture may have at most {limits.picture_pixels:,} pixels."
        raise bad(name, rule, f"{width:,} x {height:,}")
    return image


def _pixels(
    picture: _Picture, limits: Limits, height: int, width: int, *, grey: bool
) -> npt.NDArray[np.uint8]:
    """Decode a picture to uint8 [H, W, C]: upright, on white where it is transparent."""
    try:
        with _open(picture, limits) as opened:
            image = _opaque(ImageOps.exif_transpose(opened))
            image = image.convert("L" if grey else "RGB")
            if image.size != (width, height):
                image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
            return np.asarray(image, dtype=np.uint8).reshape(height, width, -1)
    except _UNREADABLE as error:
        raise _broken(picture.source.name, error) from error


def _opaque(image: Image.Image) -> Image.Image:
    """Lay a picture on white if parts of it are transparent; bring 16 bits a pixel to 8."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(ground, layer)


def _broken(name: str, error: Exception) -> BadFile:
    words = " ".join(str(error).split()).removesuffix(".")
    return bad(name, "A picture must be a whole PNG, JPEG or WebP.", words.partition(" <")[0])
