"""Networks as plain PyTorch modules, usable without the rest of the package."""

from hourglass.nn.activity import dead_units
from hourglass.nn.batchnorm import FrameworkBatchNorm
from hourglass.nn.codecs import Codec, DenseCodec
from hourglass.nn.conv_codec import ConvCodec
from hourglass.nn.convnet import ACTIVATIONS, ConvNet
from hourglass.nn.downsampling import DOWNSAMPLES, StridedConv2d
from hourglass.nn.image_norms import GroupNorm, InstanceNorm, LayerNorm
from hourglass.nn.initialisation import KERNEL_INITS
from hourglass.nn.layers import Dense, SameConv2d, SamePool2d, same_padding
from hourglass.nn.manual import ManualBatchNorm
from hourglass.nn.norms import NORMS, create_norm
from hourglass.nn.population import batch_statistics, fold, recompute_statistics
from hourglass.nn.recording import Layer, record_layers
from hourglass.nn.recurrent import LSTMClassifier
from hourglass.nn.restoration import RestorationNet
from hourglass.nn.upsampling import UPSAMPLES, TransposedConv2d, UpsampleConv2d
from hourglass.nn.variants import BatchRenorm, GhostBatchNorm

__all__ = [
    "ACTIVATIONS",
    "DOWNSAMPLES",
    "KERNEL_INITS",
    "NORMS",
    "UPSAMPLES",
    "BatchRenorm",
    "Codec",
    "ConvCodec",
    "ConvNet",
    "Dense",
    "DenseCodec",
    "FrameworkBatchNorm",
    "GhostBatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LSTMClassifier",
    "Layer",
    "LayerNorm",
    "ManualBatchNorm",
    "RestorationNet",
    "SameConv2d",
    "SamePool2d",
    "StridedConv2d",
    "TransposedConv2d",
    "UpsampleConv2d",
    "batch_statistics",
    "create_norm",
    "dead_units",
    "fold",
    "recompute_statistics",
    "record_layers",
    "same_padding",
]
