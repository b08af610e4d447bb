"""A model as a list of layers: which of them is wrong, and how it reads in a line."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.spec import parse_submission
from shared.spec.architecture import layers
from shared.spec.layers import in_words
from shared.spec.models import LayerList

CONV = {"kind": "conv", "filters": 4}
FLATTEN = {"kind": "flatten"}


def errors_of(found: pytest.ExceptionInfo[InvalidInput]) -> list[tuple[str, Any]]:
    return [(error.field, error.received) for error in found.value.errors]


@pytest.mark.parametrize(
    ("chosen", "field", "received"),
    [
        ([], "spec.model.layers", []),
        ([FLATTEN] * 101, "spec.model.layers", [FLATTEN] * 101),
        ([CONV, {"kind": "dense", "units": 0}], "spec.model.layers.1.units", 0),
        ([{"kind": "conv", "size": 3}], "spec.model.layers.0.size", 3),
        ([{"kind": "attention"}], "spec.model.layers.0", {"kind": "attention"}),
        ([{"kind": "dropout", "rate": 1}], "spec.model.layers.0.rate", 1),
        ([7], "spec.model.layers.0", 7),
        (7, "spec.model.layers", 7),
    ],
)
def test_a_broken_rule_names_the_layer_and_its_field(
    chosen: Any, field: str, received: Any
) -> None:
    body = {"spec": {"model": {"kind": "layers", "layers": chosen}}}
    with pytest.raises(InvalidInput) as found:
        parse_submission(body)
    assert errors_of(found) == [(field, received)]


@pytest.mark.parametrize(
    ("chosen", "field", "received", "words"),
    [
        ([FLATTEN, CONV], "spec.model.layers.1.kind", "conv", "a row of 784 values reaches it"),
        (
            [CONV, {"kind": "dense"}],
            "spec.model.layers.1.kind",
            "dense",
            "an image of 28 x 28 x 4 reaches it",
        ),
        ([CONV], "spec.model.layers", "conv", "add flatten or global_pool"),
        (
            [{"kind": "pool", "size": 16}, {"kind": "pool", "size": 2}, FLATTEN],
            "spec.model.layers.1.size",
            2,
            "1 x 1 pixels before pool_2",
        ),
    ],
)
def test_layers_that_do_not_fit_together_name_the_wrong_one(
    chosen: Any, field: str, received: Any, words: str
) -> None:
    model = LayerList.model_validate({"layers": chosen})
    with pytest.raises(InvalidInput) as found:
        layers(model, (28, 28, 1), 10)
    assert errors_of(found) == [(field, received)]
    assert words in found.value.errors[0].rule


def test_a_list_reads_as_a_line() -> None:
    chosen: list[Any] = [
        {"kind": "conv", "kernel_size": 5, "stride": 2, "padding": "valid", "activation": "none"},
        {"kind": "batch_norm"},
        {"kind": "pool"},
        {"kind": "global_pool"},
        {"kind": "dropout", "rate": 0.25},
    ]
    model = LayerList.model_validate({"layers": chosen}).model_dump(mode="json")
    assert in_words(model["layers"]) == (
        "conv 32, 5 x 5, stride 2, valid > batch norm > pool max, 2 x 2 > global pool average "
        "> dropout 0.25"
    )
