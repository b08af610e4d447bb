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
from worker.importing.faults import BadFile, bad, shown
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
# Options that say nothing about files of a format.
_MEANINGLESS: dict[str, tuple[str, ...]] = {
    "csv": (),
    "npz": ("label_column", "header"),
    "idx": ("label_column", "header", "pixel_range"),
    "images": ("label_column", "header", "pixel_range", "channels_first", "transpose"),
    "cifar": ("label_column", "header", "pixel_range"),
}
# Formats whose files may lie in a zip among others.
_WITHIN_ARCHIVES = ("csv", "idx")
_CALLED = {
    "csv": "tables",
    "npz": "arrays",
    "idx": "IDX files",
    "images": "pictures",
    "cifar": "CIFAR-10's files",
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
_PICTURE = "a picture"
_WITHIN = (
    "An archive must hold pictures (PNG, JPEG or WebP), arrays (.npy), tables (.csv or .tsv) or "
    "IDX files."
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
    with contextlib.ExitStack() as stack:
        sources = [
            source
            for file in sorted(files, key=lambda file: file.name)
            for source in _open_up(Source.of(file), context, stack)
        ]
        wanted = context.options.format
        kinds = [_kind(source, context.limits, wanted) for source in sources]
        kind = _only(kinds, sources) if wanted == "auto" else wanted
        if wanted != "auto":
            sources = _of_format(wanted, kinds, sources, context.notes)
        _check_options(kind, sources[0].name, context.options)
        yield from _READERS[kind](sources, context)


def _check_options(kind: str, file: str, options: ImportOptions) -> None:
    """Refuse options that would be ignored."""
    for name in _MEANINGLESS[kind]:
        value = getattr(options, name)
        if value not in (ImportOptions.model_fields[name].default, "byte"):
            rule = f"The option `{name}` says nothing about {_CALLED[kind]}: leave it as it is."
            raise bad(file, rule, value)


def _only(kinds: list[str], sources: list[Source]) -> str:
    """Return the one format of all files.

    Raises:
        BadFile: there are several, or one that is not read.
    """
    for kind, source in zip(kinds, sources, strict=True):
        if kind not in _READERS:
            raise _unread(source, kind)
    if len(set(kinds)) > 1:
        rule = (
            "All files must be of one format; choose the one to read (`format`), or words that "
            "the names of an archive's files must have (`member_words`)."
        )
        raise bad(sources[0].name, rule, _listed(kinds, sources))
    return kinds[0]


def _of_format(
    wanted: str, kinds: list[str], sources: list[Source], notes: list[str]
) -> list[Source]:
    """Return the files of the format that was chosen, and note which others there are.

    Raises:
        BadFile: there is none.
    """
    own = [source for kind, source in zip(kinds, sources, strict=True) if kind == wanted]
    if not own:
        if kinds[0] not in _READERS:
            raise _unread(sources[0], kinds[0])
        rule = f"There must be a file of the format that was chosen (`format`), {wanted}."
        raise bad(sources[0].name, rule, _listed(kinds, sources))
    for kind, source in zip(kinds, sources, strict=True):
        if kind != wanted:
            notes.append(f"{shown(source.name)} is left out: it is {kind}, not {wanted}.")
    return own


def _listed(kinds: list[str], sources: list[Source]) -> str:
    pairs = zip(sources, kinds, strict=True)
    return ", ".join(f"{source.name}: {kind}" for source, kind in pairs)


def _open_up(source: Source, context: Context, stack: contextlib.ExitStack) -> list[Source]:
    """Return the tables or IDX files within an archive of such, or else the file itself."""
    options, limits = context.options, context.limits
    source = Source(
        source.name,
        source.part or part_of(source.name),
        source.packed_bytes,
        source.opener,
        source.packed,
    )
    head = source.head(limits, 4)
    if head == b"PK\x05\x06":
        raise bad(source.name, _WITHIN, "an empty zip")
    if head != b"PK\x03\x04":
        return [source]
    entries = members(source, limits)
    names = [entry.filename.lower() for entry in entries]
    tables = [entry for entry in entries if _is_table(entry.filename)]
    others = sum(name.endswith((".npy", *ENDINGS)) for name in names)
    _leave_out_models(source, names, context.notes, alone=not tables and not others)
    if others and options.format not in _WITHIN_ARCHIVES:
        return [source]
    archive = stack.enter_context(open_zip(source))
    own = [member(source, archive, entry) for entry in tables]
    if options.member_words:
        own = [one for one in own if all(word in one.name for word in options.member_words)]
    if others and not own:
        return [source]
    if others:
        note = f"{shown(source.name)}: {others:,} pictures or arrays in it are left out."
        context.notes.append(note)
    if not own:
        raise bad(source.name, _WITHIN, ", ".join(names[:5]) or "nothing")
    return own


def _is_table(name: str) -> bool:
    return name.lower().endswith(_TABLE_ENDINGS) or "ubyte" in name


def _leave_out_models(source: Source, names: list[str], notes: list[str], *, alone: bool) -> None:
    """Note models and pickles among what is read; none of them is ever opened.

    Raises:
        BadFile: there is nothing else to read.
    """
    models = [name for name in names if name.endswith(_MODEL_ENDINGS)]
    if models and alone:
        raise bad(source.name, f"{_KNOWN_KINDS} Models and pickles are not read.", models[0])
    if models:
        more = f"and {len(models) - 1:,} more are" if len(models) > 1 else "is"
        notes.append(
            f"{shown(source.name)}: {shown(models[0])} {more} left out: models and pickles are "
            "never read."
        )


def _kind(source: Source, limits: Limits, wanted: str) -> str:
    """Return the format of a file, or in words what it is that is not read.

    Args:
        source: the file.
        limits: for its unpacking.
        wanted: the format that was chosen, which counts where a zip holds several.

    Raises:
        BadFile: it is empty or damaged.
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
        return _kind_of_zip(source, limits, wanted)
    if head[_TAR_MAGIC] == b"ustar" or (name.endswith(".bin") and "batch" in name):
        return "cifar"
    for magic, kind in _DANGEROUS:
        if head.startswith(magic):
            return kind
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"RIFF")):
        return _PICTURE
    if b"\0" in head:
        return f"bytes {head[:8].hex(' ')} ..."
    return "csv"


def _kind_of_zip(source: Source, limits: Limits, wanted: str) -> str:
    names = [entry.filename.lower() for entry in members(source, limits)]
    if wanted == "images" and any(name.endswith(ENDINGS) for name in names):
        return "images"
    return "npz" if any(name.endswith(".npy") for name in names) else "images"


def _unread(source: Source, kind: str) -> BadFile:
    """Return the error of a file that is not read; models and pickles are named as such."""
    if kind == _PICTURE:
        rule = "Pictures must come in a zip, in a folder for each class."
        return bad(source.name, rule, PurePosixPath(source.name).name)
    reason = " Pickles can run programs." if kind == "a pickle" else ""
    return bad(source.name, _KNOWN_KINDS + reason, kind)
