"""What is measured of a run, and how it is written for people."""

import statistics

MEASURES = {
    "test_bce": "BCE (nats a pixel)",
    "test_mse": "MSE",
    "test_psnr_db": "PSNR (dB)",
    "test_ssim": "SSIM",
    "validation_loss": "validation loss (nats)",
    "validation_accuracy": "validation accuracy",
    "test_loss": "test loss (nats)",
    "test_accuracy": "test accuracy",
    "single_image_accuracy": "accuracy one by one",
    "train_seconds": "training (s)",
}
"""Heading of each measure in a table; those of autoencoders are of the test images."""

DIGITS = dict.fromkeys(MEASURES, 4) | {"test_mse": 5, "test_psnr_db": 2, "train_seconds": 1}
"""Decimal places to which each measure is written."""

METHODS = {"pca": "PCA", "noisy": "noisy input", "total_variation": "total variation", "nl_means": "non-local means"}
"""Names of the methods that autoencoders are compared with."""


def mean_and_deviation(values: list[float], digits: int) -> str:
    """``mean ± standard deviation`` over seeds, or the one value."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def heading(measure: str) -> str:
    """Heading of any measure, its own name where it has no other."""
    return MEASURES.get(measure, measure.replace("_", " "))


def written(values: list[float], measure: str) -> str:
    """Mean and deviation of a measure, to its decimal places."""
    return mean_and_deviation(values, DIGITS.get(measure, 4))
