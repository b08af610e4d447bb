"""Files that were sent, and members of archives: streams that cannot grow beyond their bounds."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

from shared.datasets.report import Part
from shared.limits import Limits
from shared.reading import SentFile
from worker.importing.faults import bad

_GZIP = b"\x1f\x8b"
_READ_BYTES = 1 << 20
# A small file may grow to this whatever its ratio.
_ALWAYS_ALLOWED_BYTES = 64 << 20
_ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:(/|$)")
# What the readers of zip and gzip raise over a file that is broken or packed in another way.
_UNREADABLE = (
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    struct.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
_PART_WORDS: dict[Part, tuple[str, ...]] = {
    "train": ("train", "training", "val", "valid", "validation"),
    "test": ("test", "testing", "t10k"),
}
_PARTS = {
    f"{word}{ending}": part
    for part, words in _PART_WORDS.items()
    for word in words
    for ending in ("", "set")
}
# Between `train` and `Data`, and between `X` and `Train`.
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORDS = re.compile(r"t10k|[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Source:
    """Something to read from its beginning to its end.

    Attributes:
        name: what it was called.
        part: which part it holds, if that was said.
        packed_bytes: its length as it was sent.
        opener: opens it.
        packed: whether the opened stream is unpacked already, from an archive.
    """

    name: str
    part: Part | None
    packed_bytes: int
    opener: Callable[[], IO[bytes]]
    packed: bool = False

    @classmethod
    def of(cls, file: SentFile) -> Source:
        """Return a sent file as a source."""
        path = file.path
        return cls(file.name, file.part, path.stat().st_size, lambda: path.open("rb"))

    def open(self, limits: Limits) -> Stream:
        """Open it, unpacked if it is gzip."""
        return Stream(self, self.raw(), limits)

    def raw(self) -> IO[bytes]:
        """Open it as it is.

        Raises:
            BadFile: it is a member of an archive that cannot be read.
        """
        try:
            return self.opener()
        except _UNREADABLE as error:
            raise bad(self.name, f"It cannot be read: {error}.") from error

    def head(self, limits: Limits, count: int) -> bytes:
        """Return its first bytes, unpacked."""
        with self.open(limits) as stream:
            return stream.read(count)


class Stream(io.RawIOBase):
    """An opened source, which stops when it grows out of proportion.

    Args:
        source: what to read.
        raw: it, opened.
        limits: for the ratio.

    Raises:
        BadFile: on reading: it grows too much, or is damaged.
    """

    def __init__(self, source: Source, raw: IO[bytes], limits: Limits) -> None:
        self._source = source
        self._ratio = limits.archive_ratio
        self._read_bytes = 0
        self._allowed: int | None = None
        self._raw = raw
        self._stream = self._raw
        is_gzip = self._next(len(_GZIP)) == _GZIP
        self._raw.seek(0)
        if is_gzip:
            self._stream = cast(IO[bytes], gzip.GzipFile(fileobj=self._raw))
        if is_gzip or source.packed:
            allowed = source.packed_bytes * limits.archive_ratio
            self._allowed = max(allowed, _ALWAYS_ALLOWED_BYTES)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next, and return how much that was."""
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        self._read_bytes += len(data)
        if self._allowed is not None and self._read_bytes > self._allowed:
            rule = f"A compressed file may grow {self._ratio} times at most when it is unpacked."
            raise bad(self._source.name, rule, f"more than {self._read_bytes:,} bytes")
        return len(data)

    def _next(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except _UNREADABLE as error:
            raise bad(self._source.name, f"It is damaged: {error}.") from error

    def close(self) -> None:
        """Close the file too."""
        if not self.closed:
            self._stream.close()
            self._raw.close()
        super().close()

    @property
    def share(self) -> float:
        """Part of the source that has been read, 0 to 1."""
        whole = self._source.packed_bytes
        position = self._raw.tell() if not self._source.packed else self._read_bytes
        return min(1.0, position / whole) if whole else 1.0


def buffered(stream: Stream) -> BinaryIO:
    """Return a stream that reads ahead."""
    return cast(BinaryIO, io.BufferedReader(stream, _READ_BYTES))


def members(
    source: Source, limits: Limits, archive: zipfile.ZipFile | None = None
) -> list[zipfile.ZipInfo]:
    """Return a zip's files, checked: their names lead nowhere else, and they are no links.

    Args:
        source: the zip.
        limits: on its files.
        archive: it, opened, if it is; a million files are not told apart twice then.

    Raises:
        BadFile: naming the member.
    """
    with contextlib.ExitStack() as stack:
        entries = (archive or stack.enter_context(open_zip(source))).infolist()
    if len(entries) > limits.archive_members:
        rule = f"An archive may have at most {limits.archive_members:,} files."
        raise bad(source.name, rule, f"{len(entries):,}")
    unpacked = sum(entry.file_size for entry in entries)
    allowed = max(source.packed_bytes * limits.archive_ratio, _ALWAYS_ALLOWED_BYTES)
    if unpacked > allowed:
        rule = f"An archive may grow {limits.archive_ratio} times at most when it is unpacked."
        raise bad(source.name, rule, f"{unpacked:,} bytes out of {source.packed_bytes:,}")
    files = [entry for entry in entries if entry.filename and not entry.is_dir()]
    return [entry for entry in files if _checked(source, entry)]


def member(source: Source, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Source:
    """Return a member of an open zip as a source."""
    return Source(
        f"{source.name}: {entry.filename}",
        part_of(entry.filename) or source.part,
        entry.compress_size,
        lambda: archive.open(entry),
        packed=True,
    )


@contextlib.contextmanager
def open_zip(source: Source) -> Iterator[zipfile.ZipFile]:
    """Open a source as a zip for the block.

    Raises:
        BadFile: it is none.
    """
    with source.raw() as file:
        try:
            archive = zipfile.ZipFile(file)
        except _UNREADABLE as error:
            raise bad(source.name, f"It is no zip that can be read: {error}.") from error
        with archive:
            yield archive


def part_of(name: str) -> Part | None:
    """Return the part that a file's name says: `mnist_train.csv`, `testData1.csv`, `test/7/1.png`.

    The words are `train`, `training`, `val`, `valid`, `validation`, and `test`, `testing`, `t10k`;
    each also with `set` behind it. A name with words of both parts says nothing.
    """
    found = {_PARTS[word] for word in words_of(name) if word in _PARTS}
    return found.pop() if len(found) == 1 else None


def parts_of(name: str) -> list[str]:
    """Return the folders and the name in a member's path; `pathlib` is slow for a million."""
    return [part for part in name.split("/") if part not in ("", ".")]


def words_of(name: str) -> list[str]:
    """Return the words of a name, small: its letters between all else, and `trainData` is two."""
    return _WORDS.findall(_HUMPS.sub(" ", name).lower())


def _checked(source: Source, entry: zipfile.ZipInfo) -> bool:
    """Whether a member is to be read at all; refuse what has no place in a data set."""
    name = entry.filename
    parts = parts_of(name)
    if name.startswith("/") or ".." in parts or "\\" in name or _DRIVE.match(name):
        raise bad(source.name, "A file in an archive must not lead out of it.", name)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise bad(source.name, "An archive must hold files, not links.", name)
    if entry.flag_bits & _ENCRYPTED:
        raise bad(source.name, "An archive must not be encrypted.", name)
    # A name like `.` is no file's.
    hidden = (part.startswith(".") or part == "__MACOSX" for part in parts)
    return bool(parts) and not any(hidden)
