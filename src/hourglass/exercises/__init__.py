"""Exercises with checks that explain mistakes, and the check of a batch normalisation of one's own.

>>> import hourglass as hg
>>> hg.exercises.course()
1  pyramid       Sizes in a convolutional pyramid (easy)
2  cross_entropy Sigmoid cross-entropy of logits (easy)
3  moments       Mean and variance of feature maps (easy)
4  forward       Batch normalisation in training mode (medium)
5  inference     Moving averages, and inference (medium)
6  fold          Folding batch normalisation into a convolution (medium)
7  clipping      What clipping does to noise (hard)
8  backward      The gradient of batch normalisation (hard)
"""

from hourglass.exercises.exercise import Course, Exercise, ExerciseError, Hint, Passed
from hourglass.exercises.image_trials import check_clipping, check_cross_entropy, check_pyramid
from hourglass.exercises.norm_check import BatchNormReport, check_batch_norm
from hourglass.exercises.norm_error import BatchNormError
from hourglass.exercises.norm_trials import (
    check_backward,
    check_fold,
    check_forward,
    check_inference,
    check_moments,
)

pyramid = Exercise("pyramid", 0, check_pyramid)
"""Exercise 1: sizes in a convolutional pyramid."""
cross_entropy = Exercise("cross_entropy", 0, check_cross_entropy)
"""Exercise 2: sigmoid cross-entropy of logits."""
moments = Exercise("moments", 0, check_moments)
"""Exercise 3: mean and variance of feature maps."""
forward = Exercise("forward", 1, check_forward)
"""Exercise 4: batch normalisation in training mode."""
inference = Exercise("inference", 1, check_inference)
"""Exercise 5: moving averages, and inference."""
fold = Exercise("fold", 1, check_fold)
"""Exercise 6: folding batch normalisation into a convolution."""
clipping = Exercise("clipping", 2, check_clipping)
"""Exercise 7: what clipping does to noise."""
backward = Exercise("backward", 2, check_backward)
"""Exercise 8: the gradient of batch normalisation."""


def course(language: str = "en") -> Course:
    """All exercises, from easy to hard.

    Parameters
    ----------
    language : {"en", "zh"}, default="en"
        Language of tasks, hints and explanations: English or Chinese.

    Returns
    -------
    Course
        A tuple of :class:`Exercise`, which prints as a list.

    Raises
    ------
    ValueError
        When the language is unknown.
    """
    exercises = (pyramid, cross_entropy, moments, forward, inference, fold, clipping, backward)
    return Course(each.in_language(language) for each in exercises)


__all__ = [
    "BatchNormError",
    "BatchNormReport",
    "Course",
    "Exercise",
    "ExerciseError",
    "Hint",
    "Passed",
    "backward",
    "check_batch_norm",
    "clipping",
    "course",
    "cross_entropy",
    "fold",
    "forward",
    "inference",
    "moments",
    "pyramid",
]
