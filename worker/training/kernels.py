"""Large kernels of dense layers, laid out for the processor while the steps of a call run.

A dense layer on a flattened image has a kernel that no cache holds, so a step's time is that of
reading and writing it. As the layer keeps it, [inputs, units], its rows are short and its gradient
is a product with a transposed left side, which oneDNN cannot add to what is there. Transposed,
[units, inputs], its rows are long, and the change becomes part of the product that makes it:

- In float32, kernel^T + (-rate gradient^T) inputs is one product, in place.
- In bfloat16, XLA changes the exact kernel in place by the gradient as it is, in 16 bits, and hands
  out the rounded copy that the next step multiplies by: nothing is cast, written and read again.

Measured on the tutorial's network, 2 cores with AMX, 60 steps a call in turns with steps without:
0.90 of their time in float32, 0.92 in bfloat16. Only the order of sums is another.

A call of the graph transposes each kernel twice, which is why it should last many steps; the
model itself keeps its layers' shapes, for checkpoints, scores and exports. Used where it was
measured and where a step is nothing else: on the CPU, alone, in plain gradient descent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import keras
import tensorflow as tf

from worker.training.backward import depends_on_weights
from worker.training.stand_ins import is_stock, standing_in

# Numbers of a kernel from which on it is large: as float32 they fill a core's cache.
_LARGE = 1 << 20
# Inputs a unit from which on it is long: nothing is gained on a kernel that is nearly square.
_LONG = 4


class _Use(NamedTuple):
    """One product of a layer's inputs with its kernel, in a forward pass.

    Attributes:
        inputs: [n, inputs], in the layer's number format.
        product: [n, units], the same.
    """

    inputs: Any
    product: Any


class Uses:
    """Where a forward pass used the large kernels: a list for each of them."""

    def __init__(self, kernels: int) -> None:
        self._uses: list[list[_Use]] = [[] for _ in range(kernels)]

    def add(self, kernel: int, inputs: Any, product: Any) -> None:
        """Take note of a product."""
        self._uses[kernel].append(_Use(inputs, product))

    @property
    def products(self) -> list[Any]:
        """The products, whose gradients `LargeKernels.changed` takes."""
        return [use.product for uses in self._uses for use in uses]

    @property
    def inputs(self) -> list[Any]:
        """The inputs that have gradients, to be computed before the kernels change."""
        inputs = [use.inputs for uses in self._uses for use in uses]
        return [values for values in inputs if depends_on_weights(values)]

    def of(self, gradients: Sequence[Any]) -> Iterator[list[tuple[Any, Any]]]:
        """Return for each kernel (inputs, gradient of the product) of its uses.

        Args:
            gradients: one for each of `products`.
        """
        left = iter(gradients)
        for uses in self._uses:
            yield [(use.inputs, next(left)) for use in uses]


class LargeKernels:
    """The large kernels of a model; its methods but for `of` are for the tracing of a graph.

    Args:
        model: a Keras model; its last layer is left to its caller.
        layers: dense layers of the model, with a bias, each on inputs [n, inputs].

    Attributes:
        others: the trainable variables that are none of them, in the model's order.
        compiled: whether XLA compiles how they change.
    """

    def __init__(self, model: Any, layers: Sequence[Any] = ()) -> None:
        self._layers = layers
        self._kernels = [_KINDS[layer.compute_dtype](layer) for layer in layers]
        self.compiled = any(kernel.compiled for kernel in self._kernels)
        own = {id(layer.kernel) for layer in layers}
        self.others = [
            weight.value for weight in model.trainable_variables if id(weight) not in own
        ]

    @classmethod
    def of(cls, model: Any, *, least: int = _LARGE) -> Self:
        """Find a model's.

        Args:
            model: a Keras model that ends in a dense layer.
            least: numbers of the smallest kernel that counts.
        """
        return cls(model, [layer for layer in model.layers[:-1] if _fits(layer, least)])

    def taken(self) -> list[Any]:
        """Return what the steps of a call begin with: each kernel transposed."""
        return [kernel.taken() for kernel in self._kernels]

    @contextmanager
    def standing_in(self, held: Sequence[Any]) -> Iterator[Uses]:
        """Let the layers multiply by what is held of their kernels, in the model's forward pass.

        Args:
            held: what `taken` or `changed` returned.
        """
        uses = Uses(len(self._layers))
        calls = {
            layer: _Call(layer, kernel, number, uses)
            for number, (layer, kernel) in enumerate(zip(self._layers, held, strict=True))
        }
        with standing_in(calls):
            yield uses

    def changed(
        self, held: Sequence[Any], uses: Uses, gradients: Sequence[Any], learning_rate: Any
    ) -> list[Any]:
        """Take a step of plain gradient descent; return what is held after it.

        Args:
            held: what the forward pass used.
            uses: where it did.
            gradients: of `uses.products`, then of `uses.inputs`.
            learning_rate: a float32 scalar tensor.
        """
        count = len(uses.products)
        # The cores first do what the layers below wait for.
        with tf.control_dependencies(list(gradients[count:])):
            return [
                kernel.changed(now, used, learning_rate)
                for kernel, now, used in zip(
                    self._kernels, held, uses.of(gradients[:count]), strict=True
                )
            ]

    def put_back(self, held: Sequence[Any]) -> None:
        """Give the layers their kernels back."""
        for kernel, now in zip(self._kernels, held, strict=True):
            kernel.put_back(now)


class _Call:
    """What a dense layer computes, with a transposed kernel in place of its own."""

    def __init__(self, layer: Any, kernel: Any, number: int, uses: Uses) -> None:
        self._layer = layer
        self._kernel = kernel
        self._number = number
        self._uses = uses

    def __call__(self, inputs: Any, training: Any = None) -> Any:
        """Return activation(inputs @ kernel + bias), [n, units]."""
        # No gradient passes through the kernel: it is the work of the step before.
        kernel = tf.stop_gradient(self._kernel)
        # The batched product is the fast one here: by a fifth in float32, oneDNN's plain one
        # being slow where the right side is transposed.
        product = tf.raw_ops.BatchMatMulV2(x=inputs, y=kernel, adj_y=True)
        self._uses.add(self._number, inputs, product)
        return self._layer.activation(tf.nn.bias_add(product, self._layer.bias))


class _Kernel(ABC):
    """A kernel, transposed, in one number format.

    Args:
        layer: the dense layer it belongs to.

    Attributes:
        compiled: whether XLA compiles how it changes.
    """

    compiled = False

    def __init__(self, layer: Any) -> None:
        self._variable = layer.kernel.value
        self._shape = tuple(reversed(layer.kernel.shape))

    @abstractmethod
    def taken(self) -> Any:
        """Return the tensor [units, inputs] that the first step multiplies by."""

    @abstractmethod
    def changed(self, held: Any, used: list[tuple[Any, Any]], learning_rate: Any) -> Any:
        """Return the tensor that the next step multiplies by.

        Args:
            held: the present one.
            used: (inputs [n, inputs], gradient of the product [n, units]), once a use.
            learning_rate: a float32 scalar tensor.
        """

    @abstractmethod
    def put_back(self, held: Any) -> None:
        """Set the layer's variable."""


class _Float32(_Kernel):
    """Changed by the product that makes the change."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        # TensorFlow makes one operation of a product, a bias and a sum, not of a product and a
        # sum, and removes zeros that it can see; those of a variable it cannot.
        self._no_bias = tf.Variable(tf.zeros(self._shape[-1:]), trainable=False)

    def taken(self) -> Any:
        return tf.transpose(self._variable.read_value())

    def changed(self, held: Any, used: list[tuple[Any, Any]], learning_rate: Any) -> Any:
        for inputs, gradient in used:
            # Transposed before it is scaled: TensorFlow would take a transposition just before the
            # product into it, and then has no such operation.
            change = tf.matmul(tf.transpose(gradient) * -learning_rate, inputs)
            held = tf.nn.bias_add(change, self._no_bias.read_value()) + held
        return tf.ensure_shape(held, self._shape)

    def put_back(self, held: Any) -> None:
        self._variable.assign(tf.transpose(held))


class _BFloat16(_Kernel):
    """Kept exactly beside its rounded copy, which the steps multiply by."""

    compiled = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._exact = tf.Variable(tf.zeros(self._shape), trainable=False)
        self._change = tf.function(self._trace_change, jit_compile=True, autograph=False)

    def taken(self) -> Any:
        self._exact.assign(tf.transpose(self._variable.read_value()))
        return tf.cast(self._exact.read_value(), tf.bfloat16)

    def changed(self, held: Any, used: list[tuple[Any, Any]], learning_rate: Any) -> Any:
        for inputs, gradient in used:
            held = self._change(tf.matmul(gradient, inputs, transpose_a=True), learning_rate)
        return held

    def put_back(self, held: Any) -> None:
        with tf.control_dependencies([held]):
            self._variable.assign(tf.transpose(self._exact.read_value()))

    def _trace_change(self, gradient: Any, learning_rate: Any) -> Any:
        exact = self._exact - learning_rate * tf.cast(gradient, tf.float32)
        self._exact.assign(exact)
        return tf.cast(exact, tf.bfloat16)


_KINDS: dict[str, type[_Kernel]] = {"float32": _Float32, "bfloat16": _BFloat16}


def _fits(layer: Any, least: int) -> bool:
    """Whether it is a dense layer as Keras has them, with a kernel that is large and long."""
    if not (is_stock(layer, keras.layers.Dense) and layer.trainable and layer.use_bias):
        return False
    inputs, units = layer.kernel.shape
    return (
        len(layer.input.shape) == 2
        and layer.compute_dtype in _KINDS
        and layer.quantization_mode is None
        and not layer.lora_enabled
        and inputs >= _LONG * units
        and inputs * units >= least
    )
