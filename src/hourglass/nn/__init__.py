"""Networks as plain PyTorch modules, usable without the rest of the package."""

from hourglass.nn.batchnorm import NORMS, FrameworkBatchNorm, ManualBatchNorm, create_norm
from hourglass.nn.codecs import UPSAMPLES, Codec, ConvCodec, DenseCodec
from hourglass.nn.convnet import KERNEL_INITS, ConvNet
from hourglass.nn.layers import (
    Dense,
    SameConv2d,
    SamePool2d,
    TransposedConv2d,
    UpsampleConv2d,
    same_padding,
)

__all__ = [
    "KERNEL_INITS",
    "NORMS",
    "UPSAMPLES",
    "Codec",
    "ConvCodec",
    "ConvNet",
    "Dense",
    "DenseCodec",
    "FrameworkBatchNorm",
    "ManualBatchNorm",
    "SameConv2d",
    "SamePool2d",
    "TransposedConv2d",
    "UpsampleConv2d",
    "create_norm",
    "same_padding",
]
