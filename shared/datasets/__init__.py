"""The data sets that come with Trainyard, and the layout that trainers read.

Owns the registry of bundled data sets and how one becomes a folder of memory-mappable arrays:
`<folder>/<name>/<version[:16]>/` with `x_train.npy`, `x_test.npy` (uint8 [N, H, W, C]),
`y_train.npy`, `y_test.npy` (int64 [N]) and `dataset.json`. Needs NumPy only; knows no database.
"""

from shared.datasets.bundled import BUNDLED, BundledDataset
from shared.datasets.layout import ARRAYS, DESCRIPTION, content_version, materialise

__all__ = [
    "ARRAYS",
    "BUNDLED",
    "DESCRIPTION",
    "BundledDataset",
    "content_version",
    "materialise",
]
