"""Fitted estimators as ONNX files, which other programs run without this package."""

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
from hourglass.estimators import NetworkEstimator
from hourglass.estimators.exported import ExportedPart

PARTS = ("whole", "encoder", "decoder")
INPUTS = ("bytes", "float")
OPSET = 20
# The largest difference from PyTorch that an exported file may show.
PARITY = 1e-5


def export_onnx(
    estimator: NetworkEstimator,
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

    Of a classifier there is ``whole`` alone, with the output ``probabilities`` (n, classes). Of an ``ImageDenoiser``
    too there is ``whole`` alone, with a second input ``noise_level`` (1,), float32: the standard deviation of the noise
    as a fraction of the range, or -1, its default, if it is unknown.

    Parameters
    ----------
    estimator : DenseAutoencoder, ConvAutoencoder, ImageDenoiser or ConvClassifier
        Fitted.
    path : path-like
        Replaced where it exists.
    part : {"whole", "encoder", "decoder"}, default="whole"
        Part of the model that the file computes, as in the table.
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
        When the file's outputs differ from PyTorch's by more than 1e-5, or PyTorch cannot record the network.
    """
    onnx, onnxruntime = _import_onnx()
    check_is_fitted(estimator, "network_")
    if part not in PARTS or takes not in INPUTS:
        raise ValueError(f"part={part!r}, takes={takes!r}; choose of {', '.join(PARTS)} and of {', '.join(INPUTS)}")
    exported = estimator.export_part(part)
    low, high = estimator.pixel_range_
    if takes == "bytes" and exported.inputs == "images" and (low < -1 or high > 2):
        raise ValueError(
            f"the model was trained on pixels from {low:g} to {high:g}, and bytes are scaled to [0, 1]; "
            "export it with takes='float' (--input float)"
        )
    module = _FromFile(exported, takes).cpu().eval()
    examples = _examples(exported, takes, estimator.pixel_range_)
    fixed: list[Any] = [tuple({} for _ in exported.options)] if exported.options else []
    axes = {0: "n"} | ({1: "h", 2: "w"} if exported.any_size else {})
    with warnings.catch_warnings(), torch.inference_mode(mode=False):
        warnings.simplefilter("ignore")
        logger = logging.getLogger("torch.onnx")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                module,
                (torch.from_numpy(examples[0]), *(torch.tensor([value]) for value in exported.options.values())),
                dynamo=True,
                opset_version=OPSET,
                input_names=[exported.inputs, *exported.options],
                output_names=list(exported.outputs),
                dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.AUTO), *fixed),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise RuntimeError(
                "PyTorch cannot record what the network computes as a graph. A layer of your own, such as a class that "
                "was given as norm, has to consist of tensor operations, without float(tensor), .item() or decisions "
                "by the values of a tensor; PyTorch's error above names the line"
            ) from error
        finally:
            logger.setLevel(level)
    if program is None:
        raise RuntimeError("PyTorch made no ONNX program")
    model = program.model_proto
    # The exporter's sizes between input and output are those of the example where it could not tell.
    model.graph.ClearField("value_info")
    for value in (model.graph.input[0], *model.graph.output):
        for axis, letter in axes.items():
            if axis < len(value.type.tensor_type.shape.dim):
                value.type.tensor_type.shape.dim[axis].dim_param = letter
    for name, value in exported.options.items():  # an input with an initializer may be left out
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.float32), name))
    onnx.helper.set_model_props(model, _metadata(estimator, exported, part, takes))
    onnx.checker.check_model(model)
    content = model.SerializeToString()

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of inputs that may be left out
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    parity = max(_difference(session, exported, example) for example in examples)
    if not parity <= PARITY:
        raise RuntimeError(
            f"the ONNX file differs from PyTorch by {parity:.2g}, more than {PARITY:g}; nothing was written"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    return {
        "inputs": {
            value.name: [value.shape, value.type]
            for value in (*session.get_inputs(), *session.get_overridable_initializers())
        },
        "outputs": {value.name: [value.shape, value.type] for value in session.get_outputs()},
        "parity": parity,
    }


# Value of a further input with which a file is compared too.
_TRIED = 0.1


class _FromFile(nn.Module):
    """What stands in the file: scaling of the images, then a part of the estimator."""

    def __init__(self, part: ExportedPart, takes: str) -> None:
        super().__init__()
        self.module = part.module
        self.takes = takes if part.inputs == "images" else None

    def forward(self, x: Tensor, *options: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.takes == "bytes":
            x = x.float() / 255
        if self.takes is not None:
            x = x.permute(0, 3, 1, 2)
        outputs: Tensor | tuple[Tensor, ...] = self.module(x, *options)
        return outputs


def _examples(exported: ExportedPart, takes: str, pixel_range: tuple[float, float]) -> list[NDArray[Any]]:
    """Inputs to trace with, the first, and to compare with, all."""
    random = np.random.default_rng(0)
    if exported.inputs == "codes":
        return [random.random(shape, dtype=np.float32) for shape in exported.shapes]
    if takes == "bytes":
        return [random.integers(0, 256, shape, dtype=np.uint8) for shape in exported.shapes]
    return [random.uniform(*pixel_range, shape).astype(np.float32) for shape in exported.shapes]


def _difference(session: Any, exported: ExportedPart, example: NDArray[Any]) -> float:
    """Largest difference of the first output from the estimator's own, relative where numbers exceed 1."""
    largest = 0.0
    for options in [{}, *({name: _TRIED} for name in exported.options)]:
        feed = {name: np.array([value], np.float32) for name, value in options.items()}
        found = session.run(None, {exported.inputs: example} | feed)[0]
        expected = exported.expected(example, **options).reshape(found.shape)
        largest = max(largest, float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1))))
    return largest


def _metadata(estimator: NetworkEstimator, exported: ExportedPart, part: str, takes: str) -> dict[str, str]:
    scale = "uint8 pixels, divided by 255 inside" if takes == "bytes" else "float32 pixels as in training"
    return {
        "made_by": f"hourglass {hourglass.__version__}",
        "estimator": type(estimator).__name__,
        "part": part,
        "image_shape": "×".join(map(str, estimator.image_shape_)),
        "input": scale if exported.inputs == "images" else "float32 codes",
    } | exported.notes


def _import_onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - PyTorch's exporter imports it; if it is missing, that is said here, before any work
    except ImportError as error:
        raise ImportError(f"export needs the extra 'onnx' ({error}); pip install 'hourglass-lab[onnx]'") from error
    return onnx, onnxruntime
