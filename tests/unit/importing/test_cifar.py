"""CIFAR-10's binary files, in their tar and alone."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np

from tests.sent_files import Arrays, digits, read_files, refusal, tar


def batch(data: Arrays) -> bytes:
    planes = data["x"].transpose(0, 3, 1, 2).reshape(len(data["x"]), -1)
    rows: bytes = np.c_[data["y"].astype(np.uint8), planes].tobytes()
    return rows


FIRST, SECOND, TEST = (digits(count, side=32, channels=3) for count in (20, 10, 6))
FILES = {
    "data_batch_1.bin": batch(FIRST),
    "data_batch_2.bin": batch(SECOND),
    "test_batch.bin": batch(TEST),
}


def test_the_tar_as_it_is_published(tmp_path: Path) -> None:
    names = b"airplane\nautomobile\nbird\n"
    members = {f"cifar-10-batches-bin/{name}": content for name, content in FILES.items()}
    published = tar({"cifar-10-batches-bin/batches.meta.txt": names, **members})
    reading = read_files(tmp_path, {"cifar-10-binary.tar.gz": published}, format="cifar")
    assert (reading.arrays["x_train"] == np.concatenate([FIRST["x"], SECOND["x"]])).all()
    assert (reading.arrays["y_test"] == TEST["y"]).all()


def test_its_files_alone_are_recognised(tmp_path: Path) -> None:
    reading = read_files(tmp_path, FILES)
    assert (reading.done.train_images, reading.done.test_images) == (30, 6)
    assert (reading.done.height, reading.done.channels) == (32, 3)


def test_the_tar_is_recognised(tmp_path: Path) -> None:
    assert read_files(tmp_path, {"c.tar.gz": tar(FILES)}).done.train_images == 30


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("data_batch_1.bin")
    entry.pax_headers = {
        "GNU.sparse.map": "0,512",
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.name": "data_batch_1.bin",
    }
    entry.size = 512
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as target:
        target.addfile(entry, io.BytesIO(bytes(512)))
    words = refusal(tmp_path, {"c.tar": file.getvalue()})
    assert words == "c.tar: A tar must hold no sparse files. Received: data_batch_1.bin."


def test_a_tar_that_ends_within_a_member_is_refused(tmp_path: Path) -> None:
    whole = gzip.decompress(tar(FILES))
    words = refusal(tmp_path, {"c.tar": whole[:20_000]})
    assert words == "c.tar: data_batch_1.bin: It is damaged: unexpected end of data."


def test_a_cut_file_and_a_tar_of_other_things_are_refused(tmp_path: Path) -> None:
    cut = FILES | {"data_batch_1.bin": FILES["data_batch_1.bin"][:-1]}
    assert "must hold 3,073 bytes an image. Received: 3,072" in refusal(tmp_path, cut)
    pickles = tar({"cifar-10-batches-py/data_batch_1": b"\x80\x02}q\x01."})
    words = refusal(tmp_path, {"cifar-10-python.tar.gz": pickles})
    assert "with files `data_batch_1.bin` and so on." in words
    flowers = tar({"flowers/rose/1.jpg": b"x", "flowers/tulip/2.jpg": b"x"})
    assert refusal(tmp_path, {"flower_photos.tgz": flowers}) == (
        "flower_photos.tgz: A tar must be CIFAR-10's binary version, with files "
        "`data_batch_1.bin` and so on. Send anything else as a zip. "
        "Received: flowers/rose/1.jpg, flowers/tulip/2.jpg."
    )
    whole = tar(FILES)
    assert "damaged" in refusal(tmp_path, {"c.tar.gz": whole[: len(whole) // 2]})
