"""Total variation of one image, which both denoisers and the reading of noise levels use."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def total_variation(image: NDArray[np.floating[Any]], weight: float) -> NDArray[np.floating[Any]]:
    """Smooth one image ``(h, w, c)``; see :class:`hourglass.denoising.TotalVariation`."""
    from skimage.restoration import denoise_tv_chambolle

    return np.asarray(denoise_tv_chambolle(image, weight=weight, channel_axis=-1))
