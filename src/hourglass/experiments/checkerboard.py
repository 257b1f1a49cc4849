"""The lesson's remark on transposed convolutions, as a figure: why the decoder resizes before it convolves."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone

from hourglass import plots
from hourglass.data import Dataset
from hourglass.estimators import ConvAutoencoder
from hourglass.nn import UPSAMPLES, ConvCodec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Number of untrained networks in the average; a single one shows its random kernels more than the layout.
DRAWS = 100
STEPS = 200


def checkerboard_figure(estimator: ConvAutoencoder, data: Dataset, seed: int) -> "Figure":
    """Compare the ways to enlarge an image, untrained and after 200 steps from equal seeds.

    Parameters
    ----------
    estimator : ConvAutoencoder
        Estimator whose layout is compared; it is cloned.
    data : Dataset
        Training images, and test images of which six are shown.
    seed : int
        Seed of all trainings.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    shape = data.train.images.shape[1:]
    rows = {"input": data.test.images[:6]}
    for upsample in UPSAMPLES:
        short = clone(estimator).set_params(
            upsample=upsample, n_steps=STEPS, batch_size=64, learning_rate=0.003, schedule="constant",
            output_bias="mean", report_every=STEPS, random_state=seed, verbose=0, checkpoint_dir=None,
        )  # fmt: skip
        rows[upsample] = short.fit(data.train.images).reconstruct(data.test.images[:6])
    responses = {name: response(shape, estimator.channels, name) for name in UPSAMPLES}
    return plots.checkerboards(responses, rows, n_steps=STEPS)


@torch.inference_mode()
def response(shape: Any, channels: tuple[int, ...], upsample: str) -> NDArray[np.float64]:
    """Compute the strength of each output pixel for a constant code, over 100 untrained decoders.

    A layout that treats all pixels alike gives a flat response away from the border.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of an image.
    channels : tuple of int
        Feature maps of the encoder's blocks.
    upsample : {"nearest", "transposed", "transposed-2x2"}
        How the decoder enlarges an image.

    Returns
    -------
    ndarray of shape (h, w), float64
        Root mean square of each pixel over decoders and channels, divided by its mean.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        codec = ConvCodec(shape, channels, upsample)
    codec.to_empty(device="cpu")
    squares = torch.zeros(shape[:2], dtype=torch.float64)
    for _ in range(DRAWS):
        codec.reset_parameters(generator)
        squares += codec.decode(torch.ones(1, codec.code_size)).double().square().mean(1)[0]
    strength = squares.sqrt()
    return (strength / strength.mean()).numpy()
