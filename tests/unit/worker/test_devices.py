"""Slots and the devices they are confined to."""

from __future__ import annotations

import pytest

from shared.errors import ConfigurationError
from worker.devices import devices, usable_gpus, visible
from worker.gpus import Gpu

A, B = Gpu(0, "NVIDIA A", "GPU-aaaa-1"), Gpu(1, "NVIDIA B", "GPU-aabb-2")


def test_a_machine_without_gpu_has_one_slot_with_all_cores() -> None:
    (device,) = devices(0, gpus=[], cores=8)

    assert (device.name, device.gpus) == ("CPU", 0)
    assert device.environment == {"CUDA_VISIBLE_DEVICES": "-1"}


def test_several_slots_on_one_processor_share_its_cores() -> None:
    found = devices(3, gpus=[], cores=8)

    assert [device.name for device in found] == [f"CPU, share {n} of 3" for n in (1, 2, 3)]
    assert {device.environment["TF_NUM_INTRAOP_THREADS"] for device in found} == {"2"}


def test_each_gpu_is_a_slot_and_is_the_only_one_its_trainers_see() -> None:
    found = devices(0, gpus=[A, B])

    assert [device.name for device in found] == ["GPU 0: NVIDIA A", "GPU 1: NVIDIA B"]
    assert [device.environment["CUDA_VISIBLE_DEVICES"] for device in found] == ["0", "1"]
    assert [(device.gpu_indices, device.gpus) for device in found] == [((0,), 1), ((1,), 1)]


def test_trainers_count_gpus_as_the_driver_does_and_take_memory_as_they_need_it() -> None:
    (device,) = devices(0, gpus=[B])

    assert device.environment == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "1",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }


@pytest.mark.parametrize(("slots", "expected"), [(1, ["0"]), (4, ["0", "1", "0", "1"])])
def test_more_or_fewer_slots_than_gpus_go_round_in_turn(slots: int, expected: list[str]) -> None:
    found = devices(slots, gpus=[A, B])

    assert [device.environment["CUDA_VISIBLE_DEVICES"] for device in found] == expected


def test_several_slots_may_share_each_gpu() -> None:
    found = devices(0, slots_per_gpu=2, gpus=[A, B])

    assert [device.name for device in found] == [
        "GPU 0: NVIDIA A, share 1 of 2",
        "GPU 1: NVIDIA B, share 1 of 2",
        "GPU 0: NVIDIA A, share 2 of 2",
        "GPU 1: NVIDIA B, share 2 of 2",
    ]
    assert [device.gpu_indices for device in found] == [(0,), (1,), (0,), (1,)]


def test_a_slot_may_have_several_gpus_and_the_last_one_has_what_is_left() -> None:
    found = devices(0, gpus_per_slot=2, gpus=[A, B, Gpu(2, "NVIDIA A")])

    assert [device.name for device in found] == ["GPUs 0, 1: NVIDIA A, NVIDIA B", "GPU 2: NVIDIA A"]
    assert [device.environment["CUDA_VISIBLE_DEVICES"] for device in found] == ["0,1", "2"]
    assert [(device.gpu_indices, device.gpus) for device in found] == [((0, 1), 2), ((2,), 1)]


def test_more_slots_than_groups_of_gpus_go_round_them_too() -> None:
    found = devices(2, gpus_per_slot=2, gpus=[Gpu(0, "NVIDIA A"), Gpu(1, "NVIDIA A")])

    assert [device.name for device in found] == [
        "GPUs 0, 1: NVIDIA A, share 1 of 2",
        "GPUs 0, 1: NVIDIA A, share 2 of 2",
    ]


def test_a_gpu_is_not_shared_and_one_of_several_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        devices(0, slots_per_gpu=2, gpus_per_slot=3, gpus=[A, B])

    assert "TRAINYARD_SLOTS_PER_GPU and TRAINYARD_GPUS_PER_SLOT" in str(raised.value)
    assert "2 and 3" in str(raised.value)


def test_slots_per_gpu_mean_nothing_without_a_gpu() -> None:
    assert len(devices(0, slots_per_gpu=4, gpus=[], cores=8)) == 1


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, [A, B]),
        ("", []),
        ("-1", []),
        ("1", [B]),
        ("1,0", [B, A]),
        ("GPU-aabb", [B]),
        ("0,7,1", [A]),  # CUDA stops at the first that there is not
        ("GPU-aa", []),  # both
    ],
)
def test_the_workers_own_environment_decides_which_gpus_it_has(
    wanted: str | None, expected: list[Gpu]
) -> None:
    assert visible([A, B], wanted) == expected


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.devices.find_gpus", lambda: [A, B])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert usable_gpus() == [B]
