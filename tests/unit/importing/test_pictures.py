"""Zips of pictures: classes and parts from folders, sizes, colours, and what must not be read."""

from __future__ import annotations

import io
import stat
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from shared.reading import SentFile
from shared.settings import Settings
from tests.sent_files import LIMITS, archive, digits, limits, picture, read_files, refusal
from worker.importing.pictures import list_pictures
from worker.importing.sources import Source, open_zip

IMAGES = digits(12, side=12)["x"]
COLOUR = digits(12, side=12, channels=3)["x"]


def folders(images: npt.NDArray[np.uint8] = IMAGES, prefix: str = "") -> list[tuple[str, bytes]]:
    """Return pictures in two folders, cats and dogs by turns."""
    return [
        (f"{prefix}{('cat', 'dog')[place % 2]}/{place:03}.png", picture(image))
        for place, image in enumerate(images)
    ]


@pytest.mark.parametrize("prefix", ["", "pets/", "a/b/"])
def test_a_folder_is_a_class(prefix: str, tmp_path: Path) -> None:
    reading = read_files(tmp_path, {"pets.zip": archive(folders(prefix=prefix))})
    assert reading.done.classes == ["cat", "dog"]
    assert (reading.done.height, reading.done.width, reading.done.channels) == (12, 12, 1)
    images, labels = reading.both
    for image, label in zip(images, labels, strict=True):
        place = int(np.flatnonzero((image == IMAGES).all(axis=(1, 2, 3)))[0])
        assert label == place % 2


def test_folders_train_and_test_are_the_parts(tmp_path: Path) -> None:
    members = [*folders(IMAGES[:8], "pets/train/"), *folders(IMAGES[8:], "pets/test/")]
    reading = read_files(tmp_path, {"pets.zip": archive(members)})
    assert (reading.done.train_images, reading.done.test_images) == (8, 4)
    stray = [*members, ("pets/cat/x.png", picture(IMAGES[0]))]
    words = refusal(tmp_path, {"pets.zip": archive(stray)})
    assert "every picture must lie in one of the two" in words


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set/training_set/", "test_set/test_set/"),
        ("set/train/train/", "set/test/"),
        ("train1/data/", "test1/"),
    ],
)
def test_what_all_of_a_part_share_at_the_top_is_no_class(
    train: str, test: str, tmp_path: Path
) -> None:
    members = [*folders(IMAGES[:8], train), *folders(IMAGES[8:], test)]
    reading = read_files(tmp_path, {"pets.zip": archive(members)})
    assert reading.done.classes == ["cat", "dog"]
    assert (reading.done.train_images, reading.done.test_images) == (8, 4)
    alone = read_files(tmp_path, {"pets.zip": archive(folders(prefix=train))})
    assert alone.done.classes == ["cat", "dog"]
    assert len(alone.both[0]) == 12


@pytest.mark.parametrize("prefix", ["", "pets/"])
def test_the_part_may_lie_within_the_class(prefix: str, tmp_path: Path) -> None:
    members = [
        (f"{prefix}{('cat', 'dog')[place % 2]}/{part}/{place:02}.png", picture(IMAGES[place]))
        for part, places in (("train", range(8)), ("test", range(8, 12)))
        for place in places
    ]
    reading = read_files(tmp_path, {"pets.zip": archive(members)})
    assert reading.done.classes == ["cat", "dog"]
    tests = np.concatenate([IMAGES[8::2], IMAGES[9::2]])  # class by class
    assert (reading.arrays["x_test"] == tests).all()
    stray = [*members, (f"{prefix}cat/x.png", picture(IMAGES[0]))]
    words = refusal(tmp_path, {"pets.zip": archive(stray)})
    assert "every picture must lie in one of the two" in words


@pytest.mark.parametrize(
    ("stray", "top"),
    [("seg_pred/seg_pred/1.png", "seg_pred"), ("pred/1.png", "pred"), ("test2/1.png", "test2")],
)
def test_pictures_apart_from_all_classes_are_left_out(stray: str, top: str, tmp_path: Path) -> None:
    members = [
        *folders(IMAGES[:8], "seg_train/seg_train/"),
        *folders(IMAGES[8:], "seg_test/seg_test/"),
        (stray, picture(IMAGES[0])),
    ]
    reading = read_files(tmp_path, {"intel.zip": archive(members)})
    assert (reading.done.train_images, reading.done.test_images) == (8, 4)
    assert reading.done.notes == [
        f"intel.zip: 1 picture is left out: no folder in {top} is called like a class."
    ]


@pytest.mark.parametrize("odd", ["loose.png", "cat/1.png", "pred/a/1.png"])
def test_what_may_belong_to_a_class_is_not_left_out(odd: str, tmp_path: Path) -> None:
    members = [
        *folders(IMAGES[:8], "train/"),
        *folders(IMAGES[8:], "test/"),
        ("pred/b/1.png", picture(IMAGES[0])),
        (odd, picture(IMAGES[1])),
    ]
    words = refusal(tmp_path, {"pets.zip": archive(members)})
    assert "picture must lie in" in words


@pytest.mark.parametrize("test", ["test/1.png", "test/test/1.png"])
def test_parts_without_folders_of_classes_are_no_classes(test: str, tmp_path: Path) -> None:
    members = [("train/0.png", picture(IMAGES[0])), (test, picture(IMAGES[1]))]
    words = refusal(tmp_path, {"pets.zip": archive(members)})
    assert "must lie in a folder that is called like its class. Received: train/0.png." in words


def test_a_zip_for_each_part(tmp_path: Path) -> None:
    files = {"a.zip": archive(folders(IMAGES[:8])), "b.zip": archive(folders(IMAGES[8:]))}
    reading = read_files(tmp_path, files, parts={"a.zip": "train", "b.zip": "test"})
    assert (reading.done.train_images, reading.done.test_images) == (8, 4)


def test_several_zips_with_both_parts_give_every_picture_once(tmp_path: Path) -> None:
    files = {
        name: archive(
            [
                *folders(IMAGES[start : start + 2], "test/"),
                *folders(IMAGES[start + 2 : start + 6], "train/"),
            ]
        )
        for name, start in (("a.zip", 0), ("b.zip", 6))
    }
    reading = read_files(tmp_path, files)
    assert (reading.done.train_images, reading.done.test_images) == (8, 4)
    images, labels = reading.both
    places = [int(np.flatnonzero((i == IMAGES).all(axis=(1, 2, 3)))[0]) for i in images]
    assert sorted(places) == list(range(12))
    assert [place % 2 for place in places] == labels.tolist()


@pytest.mark.parametrize(
    ("kind", "ending"), [("PNG", "png"), ("JPEG", "jpg"), ("JPEG", "JPEG"), ("WEBP", "webp")]
)
def test_kinds_of_pictures(kind: str, ending: str, tmp_path: Path) -> None:
    flat = np.full((12, 12, 3), [200, 100, 50], np.uint8)
    members = [(f"{name}/1.{ending}", picture(flat, kind)) for name in ("a", "b")] * 2
    members = [(f"{place}{name}", content) for place, (name, content) in enumerate(members)]
    named = [(f"{'ab'[place % 2]}/{place}.{ending}", c) for place, (_, c) in enumerate(members)]
    reading = read_files(tmp_path, {"a.zip": archive(named)}, test_fraction=0.5)
    assert np.abs(reading.arrays["x_train"].astype(int) - [200, 100, 50]).max() <= 3


def test_grey_and_colour_are_told_apart_or_chosen(tmp_path: Path) -> None:
    mixed = [*folders(IMAGES), ("cat/colour.png", picture(COLOUR[0]))]
    assert read_files(tmp_path, {"a.zip": archive(folders(COLOUR))}).done.channels == 3
    assert read_files(tmp_path, {"a.zip": archive(mixed)}).done.channels == 3
    grey = read_files(tmp_path, {"a.zip": archive(folders(COLOUR))}, colour="grey")
    assert grey.done.channels == 1


def test_numbered_colours_are_grey_if_all_of_them_are(tmp_path: Path) -> None:
    def numbered(image: npt.NDArray[np.uint8], colours: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).quantize(colours).save(file, "PNG")
        return file.getvalue()

    for images, channels in ((IMAGES, 1), (COLOUR, 3)):
        members = [(f"{'ab'[row % 2]}/{row}.png", numbered(x, 9)) for row, x in enumerate(images)]
        assert read_files(tmp_path, {"a.zip": archive(members)}).done.channels == channels


def test_pictures_of_several_sizes_are_brought_to_one(tmp_path: Path) -> None:
    members = [*folders(), ("cat/large.png", picture(np.zeros((300, 400), np.uint8)))]
    reading = read_files(tmp_path, {"a.zip": archive(members)})
    assert (reading.done.height, reading.done.width) == (64, 64)
    assert "The pictures have 2 sizes; all are brought to 64 x 64 pixels" in reading.done.notes[0]
    chosen = read_files(tmp_path, {"a.zip": archive(members)}, height=20, width=30)
    assert (chosen.done.height, chosen.done.width) == (20, 30)
    side = read_files(tmp_path, {"a.zip": archive(members)}, height=24)
    assert (side.done.height, side.done.width) == (24, 24)


def test_pictures_larger_than_what_is_trained_on_are_brought_down(tmp_path: Path) -> None:
    large = np.zeros((4, 300, 300, 1), np.uint8)
    reading = read_files(tmp_path, {"a.zip": archive(folders(large))}, test_fraction=0.5)
    assert (reading.done.height, reading.done.width) == (64, 64)


def test_transparent_parts_become_white_and_pictures_stand_upright(tmp_path: Path) -> None:
    clear = np.zeros((12, 12, 4), np.uint8)
    members = [(f"{'ab'[place % 2]}/{place}.png", picture(clear)) for place in range(4)]
    reading = read_files(tmp_path, {"a.zip": archive(members)}, test_fraction=0.5)
    assert (reading.arrays["x_train"] == 255).all()
    half = np.zeros((12, 12, 3), np.uint8)
    half[:6] = 255  # white on top; turned by what its header says, white on the right
    turned = Image.Exif()
    turned[0x0112] = 6
    content = picture(half, "JPEG", exif=turned, quality=100)
    members = [(f"{'ab'[place % 2]}/{place}.jpg", content) for place in range(4)]
    upright = read_files(tmp_path, {"b.zip": archive(members)}, test_fraction=0.5)
    assert upright.arrays["x_train"][0, :, :4].max() < 30
    assert upright.arrays["x_train"][0, :, 8:].min() > 225


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_size_is_that_of_the_picture_that_stands_upright(kind: str, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    content = picture(np.zeros((60, 100, 3), np.uint8), kind, exif=turned)
    members = [(f"{'ab'[place % 2]}/{place}.{kind.lower()}", content) for place in range(4)]
    reading = read_files(tmp_path, {"a.zip": archive(members)}, test_fraction=0.5)
    assert (reading.done.height, reading.done.width) == (100, 60)
    assert not any("brought to" in note for note in reading.done.notes)


def test_sixteen_bits_a_pixel_become_eight(tmp_path: Path) -> None:
    deep = [picture(np.full((12, 12), value, np.uint16)) for value in (0x8000, 0x4000)] * 2
    members = [(f"{'ab'[place % 2]}/{place}.png", content) for place, content in enumerate(deep)]
    reading = read_files(tmp_path, {"a.zip": archive(members)}, test_fraction=0.5)
    assert set(np.unique(reading.arrays["x_train"])) == {0x80, 0x40}


def test_what_systems_leave_in_archives_is_no_class(tmp_path: Path) -> None:
    members = [
        *folders(),
        ("__MACOSX/cat/._000.png", b"x"),
        ("cat/.DS_Store", b"x"),
        (".hidden/1.png", b"x"),
        ("readme.txt", b"about"),
    ]
    reading = read_files(tmp_path, {"a.zip": archive(members)})
    assert reading.done.classes == ["cat", "dog"]
    assert reading.done.notes[0] == "a.zip: 1 files are no pictures and are left out."


def test_a_folder_whose_name_is_no_label_is_named(tmp_path: Path) -> None:
    name = "x" * 101
    words = refusal(
        tmp_path, {"a.zip": archive([*folders(), (f"{name}/7.png", picture(IMAGES[0]))])}
    )
    assert words.startswith("a.zip: xxx")
    assert "row" not in words
    many = refusal(tmp_path, {"a.zip": archive(folders())}, within=limits(dataset_classes=1))
    assert many == ("a.zip: dog/001.png: There may be at most 1 classes. Received: one more: dog.")


@pytest.mark.parametrize("name", ["01", "1.0", "1 "])
def test_folders_that_would_become_one_class_are_refused(name: str, tmp_path: Path) -> None:
    members = [(f"{one}/0.png", picture(IMAGES[0])) for one in ("0", "1", name)]
    words = refusal(tmp_path, {"a.zip": archive(members)})
    assert words.startswith("a.zip: ")
    assert "would be the same class" in words


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (("../../cat/evil.png", b"x"), "must not lead out of it. Received: ../../cat/evil.png."),
        (("/etc/cron.d/evil.png", b"x"), "must not lead out of it"),
        (("cat\\..\\evil.png", b"x"), "must not lead out of it"),
        (("C:/cat/evil.png", b"x"), "must not lead out of it"),
        ((link("cat/evil.png"), b"/etc/passwd"), "files, not links. Received: cat/evil.png."),
    ],
)
def test_members_that_lead_elsewhere_are_refused(
    member: tuple[str | zipfile.ZipInfo, bytes], words: str, tmp_path: Path
) -> None:
    before = sorted(tmp_path.parent.iterdir())
    assert words in refusal(tmp_path, {"a.zip": archive([*folders(), member])})
    assert sorted(tmp_path.parent.iterdir()) == before


def test_a_colon_in_a_folders_name_leads_nowhere(tmp_path: Path) -> None:
    members = [(f"class: {'ab'[row % 2]}/{row}.png", picture(x)) for row, x in enumerate(IMAGES)]
    assert read_files(tmp_path, {"a.zip": archive(members)}).done.classes == [
        "class: a",
        "class: b",
    ]


def test_a_member_without_a_name_of_its_own_is_no_file(tmp_path: Path) -> None:
    members: list[tuple[str | zipfile.ZipInfo, bytes]] = [*folders()]
    members += [(zipfile.ZipInfo("."), b"x"), (zipfile.ZipInfo("\0"), b"x")]
    assert read_files(tmp_path, {"a.zip": archive(members)}).done.classes == ["cat", "dog"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x09\0", "It cannot be read: That compression method"),
        (b"cat/000.png", b"cow/000.png", "It cannot be read: File name in directory"),
    ],
    ids=["Deflate64", "names that differ"],
)
def test_members_that_cannot_be_opened_are_refused(
    old: bytes, new: bytes, words: str, tmp_path: Path
) -> None:
    content = archive(folders())
    changes = -1 if b"\x09" in new else 1
    changed = content.replace(old, new, changes)
    assert changed != content
    assert words in refusal(tmp_path, {"a.zip": changed})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("cat/1.png", b"not a picture")], "must be a whole PNG, JPEG or WebP"),
        ([("cat/1.png", picture(IMAGES[0])[:-60])], "must be a whole PNG, JPEG or WebP"),
        ([("cat/1.png", b"GIF89a" + bytes(50))], "must be a whole PNG, JPEG or WebP"),
        ([("loose.png", picture(IMAGES[0]))], "must lie in a folder that is called like its class"),
        ([("cat/1.png", picture(IMAGES[0]))], "There must be at least two classes"),
        (
            [("cat/1.bmp", b"BM")],
            "An archive must hold pictures (PNG, JPEG or WebP), arrays (.npy)",
        ),
        ([], "An archive must hold pictures (PNG, JPEG or WebP), arrays (.npy)"),
    ],
)
def test_what_are_no_pictures_of_classes_is_refused(
    members: list[tuple[str, bytes]], words: str, tmp_path: Path
) -> None:
    assert words in refusal(tmp_path, {"a.zip": archive(members)})


def test_bombs_are_refused(tmp_path: Path) -> None:
    huge = picture(np.zeros((4000, 4000), np.uint8))  # 16 million pixels in 16 kB
    members = [("cat/1.png", huge), ("dog/1.png", huge)]
    words = refusal(tmp_path, {"a.zip": archive(members)}, within=limits(picture_pixels=15_999_999))
    assert "may have at most 15,999,999 pixels. Received: 4,000 x 4,000." in words
    many = refusal(tmp_path, {"a.zip": archive(folders())}, within=limits(archive_members=11))
    assert many == "a.zip: An archive may have at most 11 files. Received: 12."
    zeros = [("cat/1.png", bytes(100 << 20))]
    grown = refusal(tmp_path, {"a.zip": archive(zeros)}, within=limits(archive_ratio=100))
    assert "An archive may grow 100 times at most when it is unpacked" in grown


def test_as_many_members_as_may_be_fit_into_the_memory_that_reading_may_take(
    tmp_path: Path,
) -> None:
    content = picture(IMAGES[0])
    count = 4000
    names = (f"train/n{row % 50:08}/n{row % 50:08}_{row:08}.png" for row in range(count))
    (tmp_path / "a.zip").write_bytes(archive([(name, content) for name in names]))
    source = Source.of(SentFile(path=tmp_path / "a.zip", name="a.zip"))
    settings = Settings()
    tracemalloc.start()
    with open_zip(source) as opened:
        found = list_pictures(source, opened, LIMITS, [])
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == count
    # A fifth is for libraries and pixels.
    assert peak / count * settings.max_archive_members < 0.8 * settings.import_memory_bytes


def test_a_member_that_lies_about_its_length_is_stopped(tmp_path: Path) -> None:
    content = bytearray(archive([("cat/1.png", bytes(100 << 20))]))
    size = (100 << 20).to_bytes(4, "little")
    assert content.count(size) == 2  # once before the member, once in the table of contents
    lying = bytes(content.replace(size, (1000).to_bytes(4, "little")))
    words = refusal(tmp_path, {"a.zip": lying}, within=limits(archive_ratio=100))
    assert words.startswith("a.zip: cat/1.png:")
