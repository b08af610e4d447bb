"""What the folders of an archive of pictures say: the part and the class of each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from shared.datasets.report import Part
from worker.importing.faults import bad, shown
from worker.importing.sources import part_of, parts_of

_NO_CLASS = "A picture must lie in a folder that is called like its class."

_Folders = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """What a picture's folders say.

    Attributes:
        part: what it is for; None: they do not say.
        class_name: its class.
    """

    part: Part | None
    class_name: str


def places(names: Sequence[str], file: str, notes: list[str]) -> list[Place | None]:
    """Return what the folders of some pictures say; None for one that is left out.

    The part comes first (`train/cat/1.png`, also `train/train/cat/1.png`) or the class does
    (`cat/train/1.png`); folders at the top that hold everything say nothing.

    Args:
        names: of the pictures, with their folders.
        file: the archive's name.
        notes: takes what is left out, because it lies apart from all classes.

    Raises:
        BadFile: naming a picture in no folder of a class.
    """
    # Many pictures share a folder: its name is kept once.
    folders = [tuple(map(sys.intern, parts_of(name)[:-1])) for name in names]
    depth = _shared_depth(folders, stop_at_parts=True)
    folders = [parts[depth:] for parts in folders]
    if any(len(parts) > 1 and part_of(parts[0]) for parts in folders):
        found = _part_first(folders, file, notes)
    elif any(len(parts) > 1 and part_of(parts[1]) for parts in folders):
        found = [_class_first(parts) for parts in folders]
    else:
        found = [Place(None, parts[0] if parts else "") for parts in folders]
        if all(part_of(place.class_name) for place in found if place):
            raise bad(file, _NO_CLASS, names[0])
    for name, place in zip(names, found, strict=True):
        if place is not None and not place.class_name:
            raise bad(file, _NO_CLASS, name)
    if not any(found):
        raise bad(file, _NO_CLASS, names[0])
    return found


def _shared_depth(folders: Sequence[_Folders], *, stop_at_parts: bool = False) -> int:
    """Return how many folders at the top hold everything, the class's own not counted."""
    depth = 0
    while all(len(parts) > depth + 1 for parts in folders):
        if len({parts[depth] for parts in folders}) > 1:
            break
        if stop_at_parts and part_of(folders[0][depth]):
            break
        depth += 1
    return depth


def _class_first(folders: _Folders) -> Place:
    part = part_of(folders[1]) if len(folders) > 1 else None
    return Place(part, folders[0] if folders else "")


def _part_first(folders: list[_Folders], file: str, notes: list[str]) -> list[Place | None]:
    """Read folders whose first says the part; leave out those that lie apart from all classes."""
    tops: dict[str, list[int]] = {}
    for row, parts in enumerate(folders):
        tops.setdefault(parts[0] if parts else "", []).append(row)
    found: list[Place | None] = [None] * len(folders)
    for top, rows in tops.items():
        below = [folders[row][1:] for row in rows]
        depth = _shared_depth(below)
        part = part_of(top)
        no_class = "" if part else top
        for row, parts in zip(rows, below, strict=True):
            found[row] = Place(part, parts[depth] if len(parts) > depth else no_class)
    classes = {place.class_name for place in found if place and place.part}
    for top, rows in tops.items():
        if _lies_apart({folders[row] for row in rows}, classes):
            for row in rows:
                found[row] = None
            what = "1 picture is" if len(rows) == 1 else f"{len(rows):,} pictures are"
            notes.append(
                f"{file}: {what} left out: no folder in {shown(top)} is called like a class."
            )
    return found


def _lies_apart(folders: set[_Folders], classes: set[str]) -> bool:
    """Whether a folder at the top holds pictures of no class: all in one folder of another name."""
    (first, *others) = folders
    if others or not first:
        return False
    if part_of(first[0]):
        return all(part_of(name) for name in first)
    return not classes & set(first)
