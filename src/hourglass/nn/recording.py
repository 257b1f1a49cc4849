"""The layers of a network, measured while it computes one image."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hourglass.nn.layer_names import numbered, readable_names
from hourglass.nn.operations import ACTIVATIONS, Operation, Pair, understand
from hourglass.runtime import tricks
from hourglass.runtime.internals import Operations


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a network, as it computed one image.

    Parameters
    ----------
    name : str
        Readable name, such as "encoder 1".
    module : str, default=""
        Name of the module in ``named_modules``; empty where a function and no module is the layer.
    kind : str
        What it computes, such as "convolution".
    kernel, stride : tuple of int, default=()
        Along height and width; empty where there is no kernel.
    padding : tuple of pair of int, default=()
        Rows of zeros above and below, then columns left and right, as they were computed. Of a transposed convolution
        they are negative: as many are cut off its output.
    output : tuple of int
        Height, width and channels of the output, or the length of a row of numbers.
    activation : str, default=""
        Function after the layer, such as "ReLU".
    parameters : int, default=0
        Weights and biases, each counted where it is used first.
    multiplications : int, default=0
        Products in convolutions and matrix products, for one image; those with zeros of the padding too.
    inputs : tuple of str, default=()
        Names of the layers whose outputs it takes; more than one where a skip connection ends.
    values : torch.Tensor, optional
        Output, after the activation: ``(1, c, h, w)`` or ``(1, numbers)``; only if it was to be kept.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    module: str = ""
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[Pair, ...] = ()
    activation: str = ""
    parameters: int = 0
    multiplications: int = 0
    inputs: tuple[str, ...] = ()
    values: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def is_code(self) -> bool:
        """Whether it is the code of a codec."""
        return self.kind == CODE

    @property
    def is_skip(self) -> bool:
        """Whether it joins what came directly before with the output of an earlier layer."""
        return len(self.inputs) > 1


INPUT, CODE = "image", "code"
# What operations that join outputs are called, if not by ATen's name of them.
_JOINS = {"cat": "concatenate", "mul": "multiply"}


def record_layers(network: nn.Module, images: Tensor, *, keep: bool = False) -> list[Layer]:
    """Compute one image, and note what each layer does.

    A copy of the network computes in inference mode on the CPU, in plain form, so that nothing of the network changes.
    Modules without modules inside are layers, if they have parameters, a kernel or an output of another size. Functions
    between modules are layers if they change the size or join several outputs.

    Parameters
    ----------
    network : torch.nn.Module
        Any network of images.
    images : torch.Tensor of shape (1, c, h, w)
        One image.
    keep : bool, default=False
        Whether the layers keep their outputs as ``values``.

    Returns
    -------
    list of Layer
        The layers in the order in which they are computed. The first is the image. If the network is a codec (it has
        ``encode`` and ``code_shape``), its code is a layer without parameters. Parameters that no layer uses are at the
        end, so that the sum is the number of the network's parameters.

    Raises
    ------
    ValueError
        When the network refuses the image.
    """
    copied: Any = copy.deepcopy(network).cpu().eval()
    images = images.to(next((weight.dtype for weight in copied.parameters()), images.dtype))
    recorder = _Recorder(copied)
    output = recorder.run(copied, images)
    if isinstance(output, Tensor) and channels_last_shape(output) != recorder.rows[-1].output:
        recorder.add(_Row(name="output", kind="reshape", output=channels_last_shape(output), values=output), [-1])
    recorder.add_unused()
    layers = recorder.layers(keep=keep)
    if not hasattr(network, "encode") or not hasattr(network, "code_shape"):
        return layers
    encoder = _Recorder(copied)
    height, width, channels = getattr(copied, "image_shape", layers[0].output)
    encoder.run(copied.encode, images.new_zeros(1, channels, height, width))
    last = layers[len(encoder.rows) - 1]
    if [row.module for row in encoder.rows] != [layer.module for layer in layers[: len(encoder.rows)]]:
        return layers  # forward computes no code
    code = Layer(name=CODE, kind=CODE, output=last.output, inputs=(last.name,), values=last.values)
    return [*layers[: len(encoder.rows)], code, *layers[len(encoder.rows) :]]


def channels_last_shape(x: Tensor) -> tuple[int, ...]:
    """Shape of one image's maps ``(1, c, h, w)`` as height, width and channels, and of a row as its length."""
    channels, *sizes = x.shape[1:] if x.dim() > 1 else x.shape
    return (*sizes, channels)


@dataclass(kw_only=True)
class _Row:
    """A layer in the making."""

    name: str
    kind: str
    output: tuple[int, ...]
    values: Tensor
    module: str = ""
    operation: Operation | None = None
    multiplications: int = 0
    parameters: int = 0
    activation: str = ""
    inputs: list[int] = field(default_factory=list)


class _Recorder(Operations):
    """Context that notes every operation on tensors that come from the image.

    A tensor is known by its memory, which a view shares, and comes from the row that ``source`` has for it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.network, self.names = network, readable_names(network)
        self.rows: list[_Row] = []
        self.source: dict[int, int] = {}
        self.padded: dict[int, list[Pair]] = {}
        self.kept: list[Tensor] = []  # memory that is not freed is not used for another tensor
        self.counted: set[int] = set()
        self.inside: list[nn.Module] = []
        self.operations: list[tuple[Operation, Tensor]] = []
        self.activation = ""

    def run(self, function: Callable[[Tensor], Any], images: Tensor) -> Any:
        """Call a function of the network on an image."""
        self.add(_Row(name="input", kind=INPUT, output=channels_last_shape(images), values=images), [])
        handles = []
        for path, module in self.network.named_modules():
            if not any(module.children()) or parametrize.is_parametrized(module):
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leaver(path), with_kwargs=True))
        try:
            # Under inference mode PyTorch does not take composite operations apart.
            with tricks.without(), torch.inference_mode(mode=False), torch.no_grad(), self:
                return function(images)
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        output = _first_tensor(result)
        if output is None:
            return result
        name = func.overloadpacket.__name__
        inputs = [] if name.startswith("new_") or name.endswith("_like") else self._sources(args)
        operation = understand(name, args, output, self.padded.get(_memory(args[0]), ())) if args else None
        if name == "constant_pad_nd":
            pads = list(zip(args[1][::2], args[1][1::2], strict=True))
            self.padded[_memory(output)] = pads[::-1]
        if operation is not None and self.inside:
            self.operations.append((operation, output))
        if self.inside or not inputs:
            self._follow(output, inputs[-1:])
        elif operation is not None:
            row = _Row(name=operation.name, kind=operation.kind, output=channels_last_shape(output), values=output)
            row.operation, row.multiplications = operation, operation.multiplications
            row.parameters = self._count(each for each in _tensors(args) if isinstance(each, nn.Parameter))
            self.add(row, inputs)
        elif len(inputs) > 1 or name == "cat":
            kind, layer = _JOINS.get(name, name.removesuffix("_")), "skip" if len(inputs) > 1 else "join"
            self.add(_Row(name=layer, kind=kind, output=channels_last_shape(output), values=output), inputs)
        else:
            self._follow(output, inputs)
            row = self.rows[inputs[0]]
            if name == "slice" and row.output[-1:] == channels_last_shape(output)[-1:] and not row.module:
                # Rows and columns are left out after an image was doubled.
                row.output, row.values = channels_last_shape(output), output
        if activation := ACTIVATIONS.get(name.removesuffix("_") if name != "_softmax" else name):
            if self.inside:
                self.activation = activation
            elif inputs:
                self._activate(inputs[-1], activation, output)
        return result

    def add(self, row: _Row, inputs: Sequence[int]) -> None:
        """Append a row; later operations on its output come from it."""
        row.inputs = [i % len(self.rows) for i in inputs] if self.rows else []
        self.rows.append(row)
        self._follow(row.values, [len(self.rows) - 1])

    def add_unused(self) -> None:
        """Append rows of the parameters that no layer has used."""
        for path, module in self.network.named_modules():
            if count := self._count(module.parameters(recurse=False)):
                name = self.names[path]
                self.rows.append(
                    _Row(name=name, kind="parameters alone", output=(), values=torch.empty(0), module=path)
                )
                self.rows[-1].parameters = count

    def layers(self, *, keep: bool) -> list[Layer]:
        """Return the rows as layers."""
        readable = readable_names(self.network, [row.module for row in self.rows if row.module])
        names = numbered([readable[row.module] if row.module else row.name for row in self.rows])
        layers = []
        for name, row in zip(names, self.rows, strict=True):
            found = row.operation or Operation(kind=row.kind, name=row.name)
            inputs = tuple(names[i] for i in row.inputs)
            layers.append(
                Layer(
                    name=name,
                    module=row.module,
                    kind=" ".join([row.kind, " and ".join(inputs[:-1])]).strip() if not row.module else row.kind,
                    kernel=found.kernel,
                    stride=found.stride,
                    padding=found.padding,
                    output=row.output,
                    activation=row.activation,
                    parameters=row.parameters,
                    multiplications=row.multiplications,
                    inputs=inputs,
                    values=row.values if keep else None,
                )
            )
        return layers

    def _enter(self, module: nn.Module, _: Any) -> None:
        if not self.inside:
            self.operations, self.activation = [], ""
        self.inside.append(module)

    def _leaver(self, path: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def leave(module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            self.inside.pop()
            args = (*args, *kwargs.values())
            output, inputs = _first_tensor(result), self._sources(args)
            if output is None or self.inside or not inputs:
                return
            known = self.rows[inputs[-1]]
            parameters = self._count(module.parameters())
            resized = channels_last_shape(output) != known.output and _memory(output) not in map(
                _memory, _tensors(args)
            )
            joins = len(inputs) > 1
            if not (any(True for _ in module.parameters()) or self.operations or resized or joins):
                self._follow(output, inputs[-1:])
                if self.activation:
                    self._activate(inputs[-1], self.activation, output)
                return
            row = _Row(name=self.names[path], module=path, kind=type(module).__name__, values=output,
                       output=channels_last_shape(output), parameters=parameters)  # fmt: skip
            row.multiplications = sum(operation.multiplications for operation, _ in self.operations)
            if len(self.operations) == 1:
                [(row.operation, made)] = self.operations
                row.operation = _cropped(row.operation, made, output)
                row.kind = "dense" if isinstance(module, nn.Linear) else row.operation.kind
            self.add(row, inputs)

        return leave

    def _activate(self, i: int, activation: str, output: Tensor) -> None:
        self.rows[i].activation = activation
        self.rows[i].values = output

    def _count(self, parameters: Iterable[Tensor]) -> int:
        """Count the numbers of the parameters that were not counted before."""
        new = {id(each): each.numel() for each in parameters if id(each) not in self.counted}
        self.counted.update(new)
        return sum(new.values())

    def _sources(self, args: Any) -> list[int]:
        """Rows that tensors come from, in their order."""
        memories = map(_memory, _tensors(args))
        return sorted({self.source[memory] for memory in memories if memory in self.source})

    def _follow(self, output: Tensor, inputs: Sequence[int]) -> None:
        self.kept.append(output)
        if inputs and output.numel():
            self.source[_memory(output)] = inputs[-1]


def _cropped(operation: Operation, made: Tensor, output: Tensor) -> Operation:
    """Count what a layer leaves out of a transposed convolution's output as cut off."""
    cut = [after - before for before, after in zip(made.shape[2:], output.shape[2:], strict=True)]
    if not operation.kind.startswith("transposed") or not any(cut):
        return operation
    padding = tuple((first, last + less) for (first, last), less in zip(operation.padding, cut, strict=True))
    return replace(operation, padding=padding)


def _memory(x: Any) -> int:
    return x.untyped_storage().data_ptr() if isinstance(x, Tensor) else 0


def _tensors(args: Any) -> list[Tensor]:
    if isinstance(args, Tensor):
        return [args]
    return [x for each in args for x in _tensors(each)] if isinstance(args, tuple | list) else []


def _first_tensor(result: Any) -> Tensor | None:
    return next(iter(_tensors(result)), None)
