"""`trainyard datasets add`: sends files, follows the import, and shows what came of it."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from shared.cli.errors import Refused, Unreachable, Unsendable
from shared.cli.submission import parse_change
from shared.cli.tables import make_console
from shared.cli.text import clean

if TYPE_CHECKING:
    from shared.cli.client import Client

_PAUSE_SECONDS = 0.4
_PATIENCE_SECONDS = 60.0
_OVER = ("done", "failed")
_CHUNK_BYTES = 1 << 20
_BAR_WIDTH = 28
_MOST_CLASSES = 30
_MARKS = {"ok": "ok", "note": "note", "warning": "WARNING"}


@dataclass(frozen=True)
class Sending:
    """A file or folder to send.

    Attributes:
        path: where it lies; a folder goes as a zip.
        part: `train` or `test`, if that was said.
        name: what it is called on the way; no two are called the same.
    """

    path: Path
    part: str | None
    name: str


def body(
    name: str,
    *,
    known: str | None,
    title: str | None,
    description: str,
    attribution: str,
    options: Sequence[str],
) -> dict[str, Any]:
    """Return the body of `POST /datasets`."""
    return {
        "name": name,
        "known": known,
        "title": title,
        "description": description,
        "attribution": attribution,
        "options": dict(parse_change(option) for option in options),
    }


def gather(files: list[Path], *, train: list[Path], test: list[Path]) -> list[Sending]:
    """Return what to send."""
    parts = [(files, None), (train, "train"), (test, "test")]
    said = [(path, part) for paths, part in parts for path in paths]
    names: list[str] = []
    for path, _ in said:
        # A number, not the folder's name: a name says whether its images are for training.
        name = bare = _name(path)
        for number in count(2):
            if name not in names:
                break
            name = f"{number}-{bare}"
        names.append(name)
    return [Sending(path, part, name) for (path, part), name in zip(said, names, strict=True)]


def _name(path: Path) -> str:
    # As it was given: a link called `train.csv` says more than the file that it leads to.
    name = path.absolute().name
    if name == "..":
        name = path.resolve().name
    return f"{name}.zip" if path.is_dir() else name


def run(client: Client, body: dict[str, Any], files: list[Sending]) -> dict[str, Any]:
    """Send the files and wait for the import's end, with bars on standard error.

    Returns:
        The import as the API shows it, `done` or `failed`.

    Raises:
        Unreachable, Refused: there is no answer, or a refusal.
        Unsendable: a file cannot be read, or a folder not be packed.
    """
    begun = client.post("/datasets", body)
    path = f"/imports/{begun['id']}"
    try:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            console=make_console(stderr=True),
            transient=True,
        ) as bar:
            for file in files:
                with _telling(file):
                    _send(client, path, file, bar)
    except BaseException:
        _forget(client, path)
        raise
    try:
        return _follow(client, path)
    except KeyboardInterrupt:  # nothing else is a reason to end what may go well on a worker
        _forget(client, path)
        raise


def _forget(client: Client, path: str) -> None:
    with contextlib.suppress(Refused, Unreachable):  # what is not forgotten now is so tomorrow
        client.delete(path)


def _send(client: Client, path: str, file: Sending, bar: Progress) -> None:
    with _as_file(file, bar) as local:
        task = bar.add_task(clean(file.name), total=local.stat().st_size)

        def chunks() -> Iterator[bytes]:
            with local.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    yield chunk
                    bar.advance(task, len(chunk))

        query = f"?part={file.part}" if file.part else ""
        target = f"{path}/files/{quote(file.name, safe='')}{query}"
        client.upload(target, chunks(), local.stat().st_size)


@contextlib.contextmanager
def _as_file(file: Sending, bar: Progress) -> Iterator[Path]:
    """Give a file; for a folder a zip of it, which is gone after the block."""
    if not file.path.is_dir():
        yield file.path
        return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "folder.zip"
        _pack(file, target, bar)
        yield target


def _pack(file: Sending, target: Path, bar: Progress) -> None:
    """Write a folder's files into a zip, with a bar of its own."""
    found = sorted(_files_below(file.path))
    sizes = [path.stat().st_size for path in found]
    task = bar.add_task(f"Packing {clean(file.name.removesuffix('.zip'))}", total=sum(sizes))
    # What is dated before 1980 gets the first date that a zip knows.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for path, size in zip(found, sizes, strict=True):
            archive.write(path, path.relative_to(file.path))
            bar.advance(task, size)
    bar.remove_task(task)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder; one that may not be looked into is an error, never left out."""

    def refuse(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (path for name in names if (path := Path(place) / name).is_file())


@contextlib.contextmanager
def _telling(file: Sending) -> Iterator[None]:
    """Say what is wrong with a file or folder of this machine."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            room = f"there is no room in {tempfile.gettempdir()}; name another folder in TMPDIR"
            raise Unsendable(f"{file.path} cannot be packed: {room}.") from error
        reason = error.strerror or error
        raise Unsendable(f"{error.filename or file.path} cannot be read: {reason}.") from error


def _follow(client: Client, path: str) -> dict[str, Any]:
    """Start an import, and wait for its end."""
    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=make_console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def say(words: str) -> None:
            bar.update(task, description=words)

        answer = _start(client, path, say)
        while answer["status"] not in _OVER:
            progress = answer["progress"] or {"doing": "A worker has it", "share": 0.0}
            words = clean(answer.get("waiting") or progress["doing"])
            bar.update(task, description=words, completed=progress["share"])
            _pause()
            answer = _patiently(lambda: client.get(path), say)
    return dict(answer)


def _start(client: Client, path: str, say: Callable[[str], None]) -> Any:
    """Start an import whose files are sent."""
    try:
        return _patiently(lambda: client.post(f"{path}/start", {}), say)
    except Refused as error:
        if error.status == HTTPStatus.CONFLICT:  # started already: an answer was lost on its way
            return _patiently(lambda: client.get(path), say)
        _forget(client, path)
        raise


def _patiently(ask: Callable[[], Any], say: Callable[[str], None]) -> Any:
    """Return what the server answers; one that is away for a moment is waited for."""
    gives_up_at = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except Unreachable:
            if time.monotonic() > gives_up_at:
                raise
            say("The server is away; asking again")
            _pause()


def _pause() -> None:
    time.sleep(_PAUSE_SECONDS)


def show(done: dict[str, Any], detail: dict[str, Any] | None, url: str) -> None:
    """Print an import that is over, and what it made."""
    if failure := done["failure"]:
        print(clean(failure["evidence"]), file=sys.stderr)
        print(clean(failure["suggestion"]), file=sys.stderr)
        return
    assert detail is not None
    report = done["report"]
    for note in report["notes"]:
        print(clean(note))
    if report["known"]:
        print(f"{detail['name']} had this content before: it is its version still.")
    if report["others"]:
        print(f"The same content as {', '.join(report['others'])}.")
    show_dataset(detail, url)


def show_dataset(detail: dict[str, Any], url: str) -> None:
    """Print a data set with its classes and findings."""
    console = make_console()
    shape = f"{detail['height']} x {detail['width']} x {detail['channels']}"
    facts = Table.grid(padding=(0, 2))
    facts.add_row("data set", f"{clean(detail['title'])} ({detail['name']})")
    facts.add_row("version", detail["version"][:16])
    facts.add_row("images", f"{detail['train_images']:,} train, {detail['test_images']:,} test")
    facts.add_row("shape", f"{shape}, 0 to 255")
    facts.add_row("page", f"{url}/datasets/{detail['name']}")
    console.print(facts)
    if (report := detail["report"]) is None:
        return
    console.print(_balance(report["classes"]))
    for finding in report["findings"]:
        print(f"{_MARKS[finding['level']]}: {clean(finding['sentence'])}")


def _balance(classes: list[dict[str, Any]]) -> Table:
    """Return the class balance as bars."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Class")
    table.add_column("")
    table.add_column("Train", justify="right")
    table.add_column("Test", justify="right")
    most = max(row["train"] for row in classes)
    for row in classes[:_MOST_CLASSES]:
        bar = "█" * max(1, round(_BAR_WIDTH * row["train"] / most)) if row["train"] else ""
        table.add_row(clean(row["name"]), bar, f"{row['train']:,}", f"{row['test']:,}")
    if len(classes) > _MOST_CLASSES:
        table.add_row(f"and {len(classes) - _MOST_CLASSES} more", "", "", "")
    return table
