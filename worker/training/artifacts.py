"""What a finished job leaves: model files, history, summary, confusion matrix.

Owns the files' names and contents. Each is announced once it is complete on disk.
"""

from __future__ import annotations

import csv
import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from shared.protocol import Artifact, Epoch, Layer

_HISTORY_COLUMNS = [name for name in Epoch.model_fields if name not in ("event", "replayed")]


@dataclass(frozen=True)
class Publisher:
    """Writes files into a folder and announces them.

    Args:
        folder: where they go; exists.
        announce: called with each file.
    """

    folder: Path
    announce: Callable[[Artifact], None]

    def publish(
        self, name: str, *, kind: str, media_type: str, write: Callable[[Path], None]
    ) -> None:
        """Let `write` make the file, then announce it."""
        path = self.folder / name
        write(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.announce(
            Artifact(
                path=path,
                name=name,
                kind=kind,
                media_type=media_type,
                bytes=path.stat().st_size,
                sha256=digest,
            )
        )

    def publish_json(self, name: str, document: dict[str, Any], *, kind: str) -> None:
        """Write a JSON document and announce it."""
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        self.publish(
            name,
            kind=kind,
            media_type="application/json",
            write=lambda path: _write_text(path, text),
        )


def publish_history(publisher: Publisher, history: Sequence[Epoch]) -> None:
    """Write `history.csv`: one row an epoch, columns as in `shared.protocol.Epoch`."""

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, _HISTORY_COLUMNS, extrasaction="ignore")
            rows.writeheader()
            rows.writerows(epoch.model_dump() for epoch in history)

    publisher.publish("history.csv", kind="history", media_type="text/csv", write=write)


def publish_summary(publisher: Publisher, layers: Sequence[Layer]) -> None:
    """Write `summary.json` and `summary.txt`: layer, output shape, parameters."""
    document = {
        "layers": [layer.model_dump() for layer in layers],
        "parameters": sum(layer.parameters for layer in layers),
    }
    publisher.publish_json("summary.json", document, kind="summary")
    text = summary_table(layers)
    publisher.publish(
        "summary.txt",
        kind="summary",
        media_type="text/plain",
        write=lambda path: _write_text(path, text),
    )


def summary_table(layers: Sequence[Layer]) -> str:
    """Return the summary as a table of plain text."""
    rows = [("Layer", "Kind", "Output shape", "Parameters")]
    for layer in layers:
        shape = " x ".join(str(length) for length in layer.output_shape)
        rows.append((layer.name, layer.kind, shape, f"{layer.parameters:,}"))
    rows.append(("Total", "", "", f"{sum(layer.parameters for layer in layers):,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  {count:>{widths[3]}}\n"
        for name, kind, shape, count in rows
    )


def publish_confusion_matrix(
    publisher: Publisher, matrix: npt.NDArray[np.int64], classes: Sequence[str]
) -> None:
    """Write `confusion_matrix.json`.

    Args:
        publisher: writes it.
        matrix: int64 [classes, classes]; row: label, column: prediction.
        classes: class names, by label.
    """
    images = matrix.sum(axis=1)
    accuracies = [
        float(matrix[label, label] / count) if count else None for label, count in enumerate(images)
    ]
    document = {
        "classes": list(classes),
        "rows": "label",
        "columns": "prediction",
        "matrix": matrix.tolist(),
        "images_by_class": images.tolist(),
        "accuracy_by_class": accuracies,
    }
    publisher.publish_json("confusion_matrix.json", document, kind="confusion_matrix")


def publish_model(publisher: Publisher, model: Any, float32_model: Any) -> None:
    """Write `model.keras` and `model.tflite`.

    Args:
        publisher: writes them.
        model: as trained.
        float32_model: the same weights in plain float32, which is what LiteRT can compute.
    """
    publisher.publish(
        "model.keras",
        kind="model",
        media_type="application/vnd.keras",
        write=model.save,
    )
    content = to_litert(float32_model)
    publisher.publish(
        "model.tflite",
        kind="litert",
        media_type="application/vnd.tflite",
        write=lambda path: _write_bytes(path, content),
    )


def to_litert(model: Any) -> bytes:
    """Convert a float32 model for LiteRT (TensorFlow Lite).

    By way of a concrete function: the converter's `from_keras_model` writes a whole SavedModel
    first, and talks about it.
    """
    signature = tf.TensorSpec(model.input.shape, tf.float32, name="images")
    predict = tf.function(
        lambda images: model(images, training=False), [signature], autograph=False
    )
    holder = tf.Module()
    holder.weights = [variable.value for variable in model.variables]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [predict.get_concrete_function()], holder
        )
        return bytes(converter.convert())


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
