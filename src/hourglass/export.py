"""Fitted estimators as ONNX files, which other programs run without this package."""

import copy
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

import hourglass
from hourglass.atomic import write_whole
from hourglass.denoising.clipping import expected_clipped, undo_clipping
from hourglass.estimators import Autoencoder, ConvAutoencoder, ConvClassifier
from hourglass.estimators.autoencoder_base import ESTIMATE

PARTS = ("whole", "encoder", "decoder")
INPUTS = ("bytes", "float")
OPSET = 20
# The largest difference from PyTorch that an exported file may show.
PARITY = 1e-5
_TABLE = 4096


def export_onnx(
    estimator: Autoencoder | ConvClassifier,
    path: str | os.PathLike[str],
    *,
    part: str = "whole",
    takes: str = "bytes",
) -> dict[str, Any]:
    """Write a fitted estimator as an ONNX file, scaling and output activation inside.

    The number of images is free and, in a whole convolutional autoencoder, their height and width are too. The
    file is run in ONNX Runtime and compared with PyTorch before it is put in place.

    ========  ================================  ==============================================================
    part      input                             outputs
    ========  ================================  ==============================================================
    whole     ``images`` (n, h, w, c)           ``restored`` float32 and ``restored_bytes`` uint8, (n, h, w, c)
    encoder   ``images`` (n, h, w, c)           ``codes`` float32 (n, code_size)
    decoder   ``codes`` float32 (n, code_size)  as whole
    ========  ================================  ==============================================================

    Of a classifier there is ``whole`` alone, with the output ``probabilities`` (n, classes).

    Parameters
    ----------
    estimator : DenseAutoencoder, ConvAutoencoder or ConvClassifier
        Fitted.
    path : path-like
        Replaced where it exists.
    part : {"whole", "encoder", "decoder"}, default="whole"
    takes : {"bytes", "float"}, default="bytes"
        Whether ``images`` are uint8, scaled by 1/255 inside, or float32 on the scale of training.

    Returns
    -------
    dict
        ``inputs`` and ``outputs``, each name to shape and type, and ``parity``, the largest difference from PyTorch.

    Raises
    ------
    ImportError
        When the extra ``onnx`` is not installed.
    ValueError
        When the estimator has no such part.
    RuntimeError
        When the file's outputs differ from PyTorch's by more than 1e-5.
    """
    onnx, onnxruntime = _import_onnx()
    check_is_fitted(estimator, "network_")
    if part not in PARTS or takes not in INPUTS:
        raise ValueError(f"part={part!r}, takes={takes!r}; choose of {', '.join(PARTS)} and of {', '.join(INPUTS)}")
    low, high = estimator.pixel_range_
    if takes == "bytes" and part != "decoder" and (low < -1 or high > 2):
        raise ValueError(
            f"the model was trained on pixels from {low:g} to {high:g}, and bytes are scaled to [0, 1]; "
            "export it with takes='float' (--input float)"
        )
    module = _module(estimator, part, takes)
    examples = _examples(estimator, part, takes)
    name = "codes" if part == "decoder" else "images"
    axes = {0: "n"}
    if _any_size(estimator, part):
        axes |= {1: "h", 2: "w"}
    with warnings.catch_warnings(), torch.inference_mode(mode=False):
        warnings.simplefilter("ignore")
        logger = logging.getLogger("torch.onnx")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                module,
                (torch.from_numpy(examples[0]),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[name],
                output_names=module.names,
                dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.AUTO),),
                verbose=False,
            )
        finally:
            logger.setLevel(level)
    if program is None:
        raise RuntimeError("PyTorch made no ONNX program")
    model = program.model_proto
    # The exporter's sizes between input and output are those of the example where it could not tell.
    model.graph.ClearField("value_info")
    for value in (*model.graph.input, *model.graph.output):
        for axis, letter in axes.items():
            if axis < len(value.type.tensor_type.shape.dim):
                value.type.tensor_type.shape.dim[axis].dim_param = letter
    onnx.helper.set_model_props(model, _metadata(estimator, part, takes))
    onnx.checker.check_model(model)
    content = model.SerializeToString()

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    parity = max(_difference(session, estimator, part, name, example) for example in examples)
    if not parity <= PARITY:
        raise RuntimeError(
            f"the ONNX file differs from PyTorch by {parity:.2g}, more than {PARITY:g}; nothing was written"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    return {
        "inputs": {value.name: [value.shape, value.type] for value in session.get_inputs()},
        "outputs": {value.name: [value.shape, value.type] for value in session.get_outputs()},
        "parity": parity,
    }


class _Exported(nn.Module):
    """What stands in the file: scaling, a part of the network, output activation."""

    def __init__(self, estimator: Autoencoder | ConvClassifier, part: str, takes: str) -> None:
        super().__init__()
        self.network: Any = copy.deepcopy(estimator.network_)
        self.part, self.takes = part, takes
        self.loss = estimator.loss
        self.classifies = isinstance(estimator, ConvClassifier)
        self.names = ["codes"] if part == "encoder" else ["restored", "restored_bytes"]
        self.unclipped = False
        if self.classifies:
            self.names = ["probabilities"]
        elif getattr(estimator, "undo_clipping", None) is not None:
            level = float(estimator.undo_clipping)  # type: ignore[arg-type]  # None is handled above
            self.low, self.high = (float(value) for value in expected_clipped([0.0, 1.0], level))
            table = undo_clipping(np.linspace(self.low, self.high, _TABLE + 1), level)
            self.register_buffer("table", torch.from_numpy(table).float())
            self.unclipped = True

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.part != "decoder":
            if self.takes == "bytes":
                x = x.float() / 255
            x = x.permute(0, 3, 1, 2)
        if self.classifies:
            logits = self.network(x)
            if self.loss == "softmax":
                return torch.softmax(logits, 1)
            odds = logits.sigmoid()
            return odds / odds.sum(1, keepdim=True)  # type: ignore[no-any-return]  # torch types calls as Any
        if self.part == "encoder":
            return self.network.encode(x)  # type: ignore[no-any-return]  # torch types calls as Any
        output = self.network.decode(x) if self.part == "decoder" else self.network(x)
        output = output.permute(0, 2, 3, 1)
        if self.loss == "bce":
            output = output.sigmoid()
        if self.unclipped:
            output = self._undo_clipping(output)
        return output, (output.clamp(0, 1) * 255).round().to(torch.uint8)

    def _undo_clipping(self, output: Tensor) -> Tensor:
        place = ((output - self.low) / (self.high - self.low)).clamp(0, 1) * _TABLE
        index = place.floor().clamp(max=_TABLE - 1)
        table = self.get_buffer("table")
        left, right = table[index.long()], table[index.long() + 1]
        return left + (place - index) * (right - left)


def _module(estimator: Autoencoder | ConvClassifier, part: str, takes: str) -> _Exported:
    if isinstance(estimator, ConvClassifier):
        if part != "whole":
            raise ValueError(f"a classifier has no {part}; export it whole")
    else:
        if estimator.undo_clipping == ESTIMATE:
            raise ValueError(
                "undo_clipping='estimate' cannot go into an ONNX file; set_params(undo_clipping=LEVEL) first"
            )
        if part != "whole" and not estimator.has_code:
            raise ValueError(
                f"with skip or residual the network cannot be divided; export it whole, without part={part!r}"
            )
    return _Exported(estimator, part, takes).cpu().eval()


def _any_size(estimator: Autoencoder | ConvClassifier, part: str) -> bool:
    return isinstance(estimator, ConvAutoencoder) and part == "whole"


def _examples(estimator: Autoencoder | ConvClassifier, part: str, takes: str) -> list[NDArray[Any]]:
    """Inputs to trace with, the first, and to compare with, all."""
    random = np.random.default_rng(0)
    if part == "decoder":
        return [random.random((n, estimator.network_.code_size), dtype=np.float32) for n in (2, 5)]
    height, width, channels = estimator.image_shape_
    shapes = [(2, height, width), (5, height, width)]
    if _any_size(estimator, part):
        # Odd at every stage, so that the trace meets every case; then the others.
        stride = estimator.network_.stride
        shapes = [
            (2, stride + 1, 2 * stride + 1),
            (1, 2 * stride, 3 * stride),
            (3, 2 * stride + 3, stride + 2),
            *shapes,
        ]
    if takes == "bytes":
        return [random.integers(0, 256, (*shape, channels), dtype=np.uint8) for shape in shapes]
    low, high = estimator.pixel_range_
    return [random.uniform(low, high, (*shape, channels)).astype(np.float32) for shape in shapes]


def _difference(
    session: Any, estimator: Autoencoder | ConvClassifier, part: str, name: str, example: NDArray[Any]
) -> float:
    """Largest difference of the first output from the estimator's own, relative where numbers exceed 1."""
    found = session.run(None, {name: example})[0]
    if isinstance(estimator, ConvClassifier):
        expected: Any = estimator.predict_proba(example)
    else:
        methods = {
            "whole": estimator.reconstruct,
            "encoder": estimator.transform,
            "decoder": estimator.inverse_transform,
        }
        expected = methods[part](example)
    expected = expected.reshape(found.shape)
    return float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1)))


def _metadata(estimator: Autoencoder | ConvClassifier, part: str, takes: str) -> dict[str, str]:
    scale = "uint8 pixels, divided by 255 inside" if takes == "bytes" else "float32 pixels as in training"
    document = {
        "made_by": f"hourglass {hourglass.__version__}",
        "estimator": type(estimator).__name__,
        "part": part,
        "image_shape": "×".join(map(str, estimator.image_shape_)),
        "input": scale if part != "decoder" else "float32 codes",
    }
    if isinstance(estimator, ConvClassifier):
        document["classes"] = ", ".join(map(str, estimator.classes_))
    return document


def _import_onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - what PyTorch's exporter needs
    except ImportError as error:
        raise ImportError(f"export needs the extra 'onnx' ({error}); pip install 'hourglass-lab[onnx]'") from error
    return onnx, onnxruntime
