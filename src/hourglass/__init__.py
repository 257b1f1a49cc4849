"""Image autoencoders, and a batch-normalisation lab, on PyTorch.

>>> import hourglass as hg
>>> data = hg.load("sample")
>>> data.train.images.shape
(4000, 28, 28, 1)
"""

import importlib
from typing import TYPE_CHECKING, Any

from hourglass.runtime.forks import register_fork_handler

__version__ = "0.1.0"

register_fork_handler()

if TYPE_CHECKING:
    from hourglass import data, denoising, exercises, imagefiles, metrics, nn, plots, training
    from hourglass.array_denoising import denoise
    from hourglass.data import DATASETS, Dataset, Images, load
    from hourglass.estimators import ConvAutoencoder, ConvClassifier, DenseAutoencoder, ImageDenoiser
    from hourglass.exercises import check_batch_norm
    from hourglass.experiments import EXPERIMENTS, Experiment, Result, Run, run
    from hourglass.export import export_onnx
    from hourglass.image_training import train_on_images
    from hourglass.inspection import layers_of
    from hourglass.models import load_model, load_pretrained, save
    from hourglass.packing import pack_images
    from hourglass.report import write_report
    from hourglass.running import run_many

# Found when first asked for: PyTorch, scikit-learn and matplotlib take seconds to import.
_HOMES = {
    "DATASETS": "hourglass.data",
    "EXPERIMENTS": "hourglass.experiments",
    "ConvAutoencoder": "hourglass.estimators",
    "ConvClassifier": "hourglass.estimators",
    "Dataset": "hourglass.data",
    "DenseAutoencoder": "hourglass.estimators",
    "Experiment": "hourglass.experiments",
    "ImageDenoiser": "hourglass.estimators",
    "Images": "hourglass.data",
    "Result": "hourglass.experiments",
    "Run": "hourglass.experiments",
    "check_batch_norm": "hourglass.exercises",
    "denoise": "hourglass.array_denoising",
    "export_onnx": "hourglass.export",
    "layers_of": "hourglass.inspection",
    "load": "hourglass.data",
    "load_model": "hourglass.models",
    "load_pretrained": "hourglass.models",
    "pack_images": "hourglass.packing",
    "run": "hourglass.experiments",
    "run_many": "hourglass.running",
    "save": "hourglass.models",
    "train_on_images": "hourglass.image_training",
    "write_report": "hourglass.report",
}
_MODULES = ("data", "denoising", "exercises", "imagefiles", "metrics", "nn", "plots", "training")

__all__ = [
    "DATASETS",
    "EXPERIMENTS",
    "ConvAutoencoder",
    "ConvClassifier",
    "Dataset",
    "DenseAutoencoder",
    "Experiment",
    "ImageDenoiser",
    "Images",
    "Result",
    "Run",
    "check_batch_norm",
    "data",
    "denoise",
    "denoising",
    "exercises",
    "export_onnx",
    "imagefiles",
    "layers_of",
    "load",
    "load_model",
    "load_pretrained",
    "metrics",
    "nn",
    "pack_images",
    "plots",
    "run",
    "run_many",
    "save",
    "train_on_images",
    "training",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"hourglass.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hourglass' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
