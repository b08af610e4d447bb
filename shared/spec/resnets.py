"""The shapes of the residual networks, a row for each of their blocks."""

from __future__ import annotations

from shared.spec.models import ResNet20, ResNet50
from shared.spec.shapes import Layers

# Filters of each stage of ResNet-20, which has three blocks in each.
STAGES_20 = (16, 32, 64)
BLOCKS_20 = 3
# Filters and blocks of each stage of ResNet-50; a block puts out four times its filters.
_STAGES_50 = ((64, 3), (128, 4), (256, 6), (512, 3))


def resnet20(layers: Layers, model: ResNet20) -> None:
    """Append the layers of ResNet-20."""
    layers.conv("conv", STAGES_20[0], kernel_size=3, bias=False)
    layers.norm("norm")
    layers.same("relu", "ReLU")
    for stage, filters in enumerate(STAGES_20, start=1):
        for number in range(1, BLOCKS_20 + 1):
            with layers.block(f"stage{stage}_block{number}"):
                _basic_block(layers, filters, stride=2 if stage > 1 and number == 1 else 1)
    layers.global_pool("pool")


def resnet50(layers: Layers, model: ResNet50) -> None:
    """Append the layers of ResNet-50, as `keras.applications` names them."""
    layers.pad("conv1_pad", height=6, width=6)
    layers.conv("conv1_conv", 64, kernel_size=7, same_size=False, stride=2)
    layers.norm("conv1_bn")
    layers.same("conv1_relu", "Activation")
    layers.pad("pool1_pad", height=2, width=2)
    layers.pool("pool1_pool", size=3, stride=2)
    for stage, (filters, blocks) in enumerate(_STAGES_50, start=2):
        for number in range(1, blocks + 1):
            with layers.block(f"conv{stage}_block{number}"):
                _bottleneck_block(
                    layers, filters, stride=2 if stage > 2 and number == 1 else 1, first=number == 1
                )
    layers.global_pool("avg_pool")


def _basic_block(layers: Layers, filters: int, *, stride: int) -> None:
    """Two convolutions beside a shortcut, which has no parameters."""
    layers.conv("conv1", filters, kernel_size=3, stride=stride, bias=False)
    layers.norm("norm1")
    layers.same("relu1", "ReLU")
    layers.conv("conv2", filters, kernel_size=3, bias=False)
    layers.norm("norm2")
    layers.same("add", "Add")
    layers.same("out", "ReLU")


def _bottleneck_block(layers: Layers, filters: int, *, stride: int, first: bool) -> None:
    """Three convolutions beside a shortcut, which is a convolution in a stage's first block."""
    before = layers.shape
    if first:
        layers.conv("0_conv", 4 * filters, kernel_size=1, stride=stride)
        layers.norm("0_bn")
        layers.shape = before
    layers.conv("1_conv", filters, kernel_size=1, stride=stride)
    layers.norm("1_bn")
    layers.same("1_relu", "Activation")
    layers.conv("2_conv", filters, kernel_size=3)
    layers.norm("2_bn")
    layers.same("2_relu", "Activation")
    layers.conv("3_conv", 4 * filters, kernel_size=1)
    layers.norm("3_bn")
    layers.same("add", "Add")
    layers.same("out", "Activation")
