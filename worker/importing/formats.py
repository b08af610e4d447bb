"""Which reader a file needs: found out from its first bytes, or said by the person."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import PurePosixPath

from shared.limits import Limits
from shared.reading import SentFile
from shared.spec.dataset_import import ImportOptions
from worker.importing.arrays import read_arrays
from worker.importing.build import Chunk
from worker.importing.cifar import read_cifar
from worker.importing.context import Context
from worker.importing.faults import bad
from worker.importing.idx import is_idx, read_idx
from worker.importing.pictures import ENDINGS, read_pictures
from worker.importing.sources import Source, member, members, open_zip, part_of
from worker.importing.tables import read_tables

Reader = Callable[[list[Source], Context], Iterator[Chunk]]
_READERS: dict[str, Reader] = {
    "csv": read_tables,
    "npz": read_arrays,
    "idx": read_idx,
    "images": read_pictures,
    "cifar": read_cifar,
}
_HEAD_BYTES = 512
_TAR_MAGIC = slice(257, 262)
_TABLE_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_MODEL_ENDINGS = (".pkl", ".pickle", ".keras", ".h5", ".pt", ".pth")
_DANGEROUS = (
    (b"\x80", "a pickle"),
    (b"\x89HDF", "HDF5"),
    (b"PAR1", "Parquet"),
    (b"%PDF", "a PDF"),
)
_KNOWN_KINDS = "It must be a CSV, .npz, IDX, CIFAR-10's binary files or a zip of pictures."


def read(files: list[SentFile], context: Context) -> Generator[Chunk]:
    """Read files of one format.

    Args:
        files: what was sent.
        context: how to read them, and within which bounds.

    Raises:
        BadFile: they are of no known format, or of several, or something is wrong in them.
    """
    options, limits = context.options, context.limits
    with contextlib.ExitStack() as stack:
        sources = [
            source
            for file in sorted(files, key=lambda file: file.name)
            for source in _open_up(Source.of(file), options, limits, stack)
        ]
        kinds = {source.name: _kind(source, limits) for source in sources}
        wanted: str = options.format
        if wanted == "auto":
            found = sorted(set(kinds.values()))
            if len(found) > 1:
                listed = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
                raise bad(sources[0].name, "All files must be of one format.", listed)
            wanted = found[0]
        yield from _READERS[wanted](sources, context)


def _open_up(
    source: Source, options: ImportOptions, limits: Limits, stack: contextlib.ExitStack
) -> list[Source]:
    """Return the tables or IDX files within an archive of such, or else the file itself."""
    source = Source(
        source.name,
        source.part or part_of(source.name),
        source.packed_bytes,
        source.opener,
        source.packed,
    )
    if source.head(limits, 4) != b"PK\x03\x04":
        return [source]
    entries = members(source, limits)
    names = [entry.filename.lower() for entry in entries]
    if model := next((name for name in names if name.endswith(_MODEL_ENDINGS)), None):
        raise bad(source.name, f"{_KNOWN_KINDS} Models and pickles are not read.", model)
    if any(name.endswith((".npy", *ENDINGS)) for name in names):
        return [source]
    archive = stack.enter_context(open_zip(source))
    own = [
        member(source, archive, entry)
        for entry in entries
        if entry.filename.lower().endswith(_TABLE_ENDINGS) or "ubyte" in entry.filename
    ]
    if options.member_words:
        own = [one for one in own if all(word in one.name for word in options.member_words)]
    if not own:
        rule = "An archive must hold pictures, arrays, tables or IDX files."
        raise bad(source.name, rule, ", ".join(names[:5]) or "nothing")
    return own


def _kind(source: Source, limits: Limits) -> str:
    """Return the format of a file.

    Raises:
        BadFile: it is none that is read; models and pickles are named as such.
    """
    head = source.head(limits, _HEAD_BYTES)
    name = source.name.lower()
    if not head:
        raise bad(source.name, "A file must not be empty.", "0 bytes")
    if is_idx(head[:4]):
        return "idx"
    if head.startswith(b"\x93NUMPY"):
        return "npz"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(source, limits)
    if head[_TAR_MAGIC] == b"ustar" or (name.endswith(".bin") and "batch" in name):
        return "cifar"
    for magic, kind in _DANGEROUS:
        if head.startswith(magic):
            reason = " Pickles can run programs." if kind == "a pickle" else ""
            raise bad(source.name, _KNOWN_KINDS + reason, kind)
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"RIFF")):
        rule = "Pictures must come in a zip, in a folder for each class."
        raise bad(source.name, rule, PurePosixPath(source.name).name)
    if b"\0" in head:
        raise bad(source.name, _KNOWN_KINDS, f"bytes {head[:8].hex(' ')} ...")
    return "csv"


def _kind_of_zip(source: Source, limits: Limits) -> str:
    names = [entry.filename.lower() for entry in members(source, limits)]
    return "npz" if any(name.endswith(".npy") for name in names) else "images"
