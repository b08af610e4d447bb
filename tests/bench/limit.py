"""The least time that an epoch of `hello-world` can take: its arithmetic, or its memory traffic.

A roofline (Williams, Waterman and Patterson, 2009): what the machine delivers on one large product
and on one large addition, against what an epoch needs of both. `python -m tests.bench.limit
PRECISION` measures and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

_FLOAT32_BYTES = 4
_PRODUCT = 2048
_FLOATS = 32_000_000
_REPEATS = 10

_TRAIN, _TEST, _BATCH = 60_000, 10_000, 100
# The tutorial's network: a convolution of 28 filters, 18,928 x 128, 128 x 10.
_OUTPUT = 26 * 26 * 28
_KERNEL = _OUTPUT * 128
_CONVOLUTION_FLOPS = 2 * _OUTPUT * 9
_DENSE_FLOPS = 2 * (_KERNEL + 128 * 10)
# Passes over the large kernel, and over the convolution's output, that no order of operations
# avoids. Kernel, in the format that is computed in: read forward and backward; and, if that is
# not float32, its gradient written and read, and its rounded copy written. Kernel in float32: read
# and written by the update. Output: written and read forward, read for the kernel's gradient; its
# own gradient written, masked (two reads, a write), and read for the filters and for the biases.
_PASSES_OVER_KERNEL = 2
_PASSES_MORE_IF_ROUNDED = 3
_PASSES_OVER_EXACT_KERNEL = 2
_PASSES_OVER_OUTPUT = 9


@dataclass(frozen=True)
class Limit:
    """What this machine delivers at its best.

    Attributes:
        flops: floating-point operations a second, of a large product.
        bandwidth: bytes a second, read and written, of a large addition.
        number_bytes: bytes of a number of that product.
    """

    flops: float
    bandwidth: float
    number_bytes: int

    @classmethod
    def measured(cls, precision: str) -> Self:
        """Measure in a process of its own."""
        child = subprocess.run(
            [sys.executable, "-m", "tests.bench.limit", precision],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
            stdout=subprocess.PIPE,
            check=True,
        )
        return cls(**json.loads(child.stdout))

    @property
    def arithmetic_seconds(self) -> float:
        """Seconds of an epoch that only computes: two passes backward where there are two."""
        train = _TRAIN * (2 * _CONVOLUTION_FLOPS + 3 * _DENSE_FLOPS)
        test = _TEST * (_CONVOLUTION_FLOPS + _DENSE_FLOPS)
        return (train + test) / self.flops

    @property
    def memory_seconds(self) -> float:
        """Seconds of an epoch that only moves bytes; the scoring's are left out."""
        rounded = self.number_bytes < _FLOAT32_BYTES
        passes = _PASSES_OVER_KERNEL + rounded * _PASSES_MORE_IF_ROUNDED
        kernel = _KERNEL * (self.number_bytes * passes + _FLOAT32_BYTES * _PASSES_OVER_EXACT_KERNEL)
        output = self.number_bytes * _BATCH * _OUTPUT * _PASSES_OVER_OUTPUT
        return _TRAIN // _BATCH * (kernel + output) / self.bandwidth

    @property
    def seconds(self) -> float:
        """Seconds of an epoch whose arithmetic and traffic overlap perfectly."""
        return max(self.arithmetic_seconds, self.memory_seconds)

    def __str__(self) -> str:
        return (
            f"arithmetic {self.arithmetic_seconds:.1f} s at {self.flops / 1e9:,.0f} GFLOP/s, "
            f"memory traffic {self.memory_seconds:.1f} s at {self.bandwidth / 1e9:,.0f} GB/s"
        )


def measure(precision: str) -> Limit:
    """Measure in this process.

    Args:
        precision: as in a spec.
    """
    import tensorflow as tf

    from worker.training.precision import resolve

    numbers = {"mixed_bfloat16": tf.bfloat16, "mixed_float16": tf.float16}.get(
        resolve(precision), tf.float32
    )
    square = tf.cast(tf.random.normal([_PRODUCT, _PRODUCT]), numbers)
    values = tf.random.normal([_FLOATS])
    return Limit(
        flops=2 * _PRODUCT**3 / _fastest(lambda: tf.matmul(square, square)),
        bandwidth=2 * _FLOAT32_BYTES * _FLOATS / _fastest(lambda: values + 1.0),
        number_bytes=numbers.size,
    )


def _fastest(work: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of some runs, each waited for."""
    import tensorflow as tf

    run = tf.function(lambda: tf.reshape(work(), [-1])[0], autograph=False)
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        run().numpy()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    from worker.training.pages import use_huge_pages
    from worker.training.runtime import import_tensorflow

    use_huge_pages()
    import_tensorflow()
    print(json.dumps(asdict(measure(sys.argv[1]))))
