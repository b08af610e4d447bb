"""Public data sets by name: where their files are, how they are read, what classes are called.

Their checksums are those that the publishers, or else torchvision and TensorFlow Datasets, give.
Files that a person sends for a known set need not have them: other editions are welcome, their
options are what counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.errors import InvalidInput
from shared.spec.dataset_import import DatasetImport, ImportOptions


@dataclass(frozen=True)
class KnownFile:
    """A file to fetch.

    Attributes:
        set_name: the set that it belongs to.
        url: where from.
        md5: its checksum, hexadecimal, as published.
    """

    set_name: str
    url: str
    md5: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]

    @property
    def mirror_path(self) -> str:
        """Where it lies on a mirror; sets have files of the same names."""
        return f"{self.set_name}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """A public data set.

    Attributes:
        name: what jobs call it unless another name is given.
        title: what people call it.
        description: what it holds.
        attribution: authors and licence.
        files: what to fetch.
        megabytes: how much that is, about.
        options: how its files are read.
    """

    name: str
    title: str
    description: str
    attribution: str
    files: tuple[KnownFile, ...]
    megabytes: int
    options: ImportOptions = field(default_factory=ImportOptions)


def _idx_files(set_name: str, folder: str, *checksums: str) -> tuple[KnownFile, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(
        KnownFile(set_name, f"{folder}/{name}-ubyte.gz", md5)
        for name, md5 in zip(names, checksums, strict=True)
    )


# Letters whose two cases look alike share a class in EMNIST's balanced edition.
_EMNIST_BALANCED = [*"0123456789", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *"abdefghnqrt"]

KNOWN: dict[str, KnownSet] = {
    known.name: known
    for known in (
        KnownSet(
            name="fashion_mnist",
            title="Fashion-MNIST",
            description="Clothes from a shop's catalogue: 60,000 training and 10,000 test images "
            "of 28 x 28 grey pixels in ten classes.",
            attribution="H. Xiao, K. Rasul, R. Vollgraf (Zalando Research); MIT licence",
            files=_idx_files(
                "fashion_mnist",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
            megabytes=30,
            options=ImportOptions(
                class_names=[
                    "T-shirt/top",
                    "Trouser",
                    "Pullover",
                    "Dress",
                    "Coat",
                    "Sandal",
                    "Shirt",
                    "Sneaker",
                    "Bag",
                    "Ankle boot",
                ]
            ),
        ),
        KnownSet(
            name="kmnist",
            title="Kuzushiji-MNIST",
            description="Cursive Japanese characters: 60,000 training and 10,000 test images of "
            "28 x 28 grey pixels in ten classes.",
            attribution="T. Clanuwat et al. (ROIS-DS Center for Open Data in the Humanities); "
            "CC BY-SA 4.0",
            files=_idx_files(
                "kmnist",
                "http://codh.rois.ac.jp/kmnist/dataset/kmnist",
                "bdb82020997e1d708af4cf47b453dcf7",
                "e144d726b3acfaa3e44228e80efcd344",
                "5c965bf0a639b31b8f53240b1b52f4d7",
                "7320c461ea6c1c855c0b718fb2a4b134",
            ),
            megabytes=21,
            options=ImportOptions(
                class_names=["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
            ),
        ),
        KnownSet(
            name="emnist",
            title="EMNIST, balanced",
            description="Handwritten digits and letters: 112,800 training and 18,800 test images "
            "of 28 x 28 grey pixels in 47 classes of equal size.",
            attribution="G. Cohen, S. Afshar, J. Tapson, A. van Schaik; from NIST Special "
            "Database 19",
            files=(
                KnownFile(
                    "emnist",
                    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
                    "58c8d27c78d21e728a6bc7b3cc06412e",
                ),
            ),
            megabytes=560,
            options=ImportOptions(
                transpose=True, member_words=["balanced"], class_names=_EMNIST_BALANCED
            ),
        ),
        KnownSet(
            name="cifar10",
            title="CIFAR-10",
            description="Photographs of animals and vehicles: 50,000 training and 10,000 test "
            "images of 32 x 32 colour pixels in ten classes.",
            attribution="A. Krizhevsky, V. Nair, G. Hinton",
            files=(
                KnownFile(
                    "cifar10",
                    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                    "c32a1d4ab5d03f1284b67883e8d87530",
                ),
            ),
            megabytes=170,
            options=ImportOptions(
                format="cifar",
                class_names=[
                    "airplane",
                    "automobile",
                    "bird",
                    "cat",
                    "deer",
                    "dog",
                    "frog",
                    "horse",
                    "ship",
                    "truck",
                ],
            ),
        ),
    )
}


def complete(request: DatasetImport) -> DatasetImport:
    """Fill in what is known of a known set, where the person said nothing.

    Raises:
        InvalidInput: there is no known set of that name.
    """
    if request.known is None:
        return request
    known = KNOWN.get(request.known)
    if known is None:
        raise InvalidInput.of("known", f"Must be one of: {', '.join(KNOWN)}.", request.known)
    usual = ImportOptions()
    own = {  # a form says everything; what it leaves as usual was not said
        name: value for name, value in request.options if value != getattr(usual, name)
    }
    return request.model_copy(
        update={
            "title": request.title or known.title,
            "description": request.description or known.description,
            "attribution": request.attribution or known.attribution,
            "options": known.options.model_copy(update=own),
        }
    )
