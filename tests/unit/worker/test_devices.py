"""Slots and the devices they are confined to."""

from __future__ import annotations

import pytest

from worker.devices import devices


def test_a_machine_without_gpu_has_one_slot_with_all_cores() -> None:
    (device,) = devices(0, gpus=[], cores=8)

    assert (device.name, device.gpus) == ("CPU", 0)
    assert device.environment == {"CUDA_VISIBLE_DEVICES": "-1"}


def test_several_slots_on_one_processor_share_its_cores() -> None:
    found = devices(3, gpus=[], cores=8)

    assert [device.name for device in found] == [f"CPU, share {n} of 3" for n in (1, 2, 3)]
    assert {device.environment["TF_NUM_INTRAOP_THREADS"] for device in found} == {"2"}


def test_each_gpu_is_a_slot_and_is_the_only_one_its_trainers_see() -> None:
    found = devices(0, gpus=["NVIDIA A", "NVIDIA B"])

    assert [device.name for device in found] == ["GPU 0: NVIDIA A", "GPU 1: NVIDIA B"]
    assert [device.environment["CUDA_VISIBLE_DEVICES"] for device in found] == ["0", "1"]
    assert {device.gpus for device in found} == {1}


@pytest.mark.parametrize(("slots", "expected"), [(1, ["0"]), (4, ["0", "1", "0", "1"])])
def test_more_or_fewer_slots_than_gpus_go_round_in_turn(slots: int, expected: list[str]) -> None:
    found = devices(slots, gpus=["A", "B"])

    assert [device.environment["CUDA_VISIBLE_DEVICES"] for device in found] == expected
