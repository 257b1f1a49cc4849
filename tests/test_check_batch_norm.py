"""The check of a batch normalisation of one's own: right ones pass, each mistake gets its own explanation."""

import random
import re

import numpy as np
import pytest
import torch
from torch import nn

import hourglass as hg
from hourglass.exercises import BatchNormError
from learners_norms import Right
from wrong_norms import RIGHT, WRONG

OURS = {
    "framework's": hg.nn.FrameworkBatchNorm,
    "manual": hg.nn.ManualBatchNorm,
    "ghost, of one part": hg.nn.GhostBatchNorm,
    "torch's 1-D": nn.BatchNorm1d,
    "torch's 2-D": nn.BatchNorm2d,
    "torch's by a function": lambda channels: nn.BatchNorm2d(channels, eps=1e-3, momentum=None),
    "biased stored": lambda channels: hg.nn.ManualBatchNorm(channels, 1e-3, 0.01, stored_variance="biased"),
}


@pytest.mark.parametrize("name", OURS)
def test_those_of_libraries_pass(name):
    report = hg.check_batch_norm(OURS[name])
    assert {"mean", "gradient", "moving variance", "inference", "state"} <= set(report.passed)


@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_pass(name):
    hg.check_batch_norm(RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_explained(name):
    norm, part, words = WRONG[name]
    with pytest.raises(BatchNormError) as caught:
        hg.check_batch_norm(norm)
    assert re.fullmatch(part, caught.value.part), caught.value
    assert re.search(words, str(caught.value)), caught.value
    for said in (caught.value.done, caught.value.expected, caught.value.found, caught.value.mistake):
        assert said.endswith((".", "`")), said
        assert said in str(caught.value)


def test_what_was_found_is_reported():
    report = hg.check_batch_norm(lambda channels: hg.nn.ManualBatchNorm(channels, 1e-3, 0.01))
    assert report.eps == pytest.approx(1e-3, rel=0.01)
    assert report.momentum == pytest.approx(0.01, rel=0.01)
    assert report.stored_variance == "unbiased"
    assert hg.check_batch_norm(Right).stored_variance == "biased"
    assert "epsilon 1e-05; share of a new batch in the moving averages 0.1" in repr(hg.check_batch_norm(Right))
    assert hg.check_batch_norm(OURS["torch's by a function"]).momentum is None


@pytest.mark.parametrize(
    ("norm", "left_out"),
    [
        (nn.BatchNorm2d, "left out: rows (n, c) are refused (ValueError: expected 4D input (got 2D input))"),
        (nn.BatchNorm1d, "left out: feature maps (n, c, h, w) are refused"),
        (RIGHT["rows alone"], "left out: feature maps (n, c, h, w) are refused (ValueError: rows only)"),
        (RIGHT["maps alone"], "left out: rows (n, c) are refused (IndexError"),
    ],
)
def test_a_kind_of_input_that_is_refused_is_left_out(norm, left_out):
    report = hg.check_batch_norm(norm)
    assert any(said.startswith(left_out) for said in report.notes)
    assert left_out in repr(report)
    assert not {"rows (n, c)", "feature maps (n, c, h, w)"} & set(report.passed)
    assert ("channels last" in report.passed) == left_out.startswith("left out: rows")


def test_inexact_moments_are_noted_or_on_request_an_error():
    assert any("bfloat16" in said for said in hg.check_batch_norm(Right).notes)
    assert any("large mean" in said for said in hg.check_batch_norm(RIGHT["squares less square"]).notes)
    with pytest.raises(BatchNormError, match=r"compute them of x\.float\(\)"):
        hg.check_batch_norm(Right, precise=True)
    with pytest.raises(BatchNormError, match=r"the mean of the squares of \(x - mean\)"):
        hg.check_batch_norm(RIGHT["squares less square"], precise=True)
    for norm in (hg.nn.ManualBatchNorm, hg.nn.FrameworkBatchNorm, RIGHT["float32 inside"]):
        report = hg.check_batch_norm(norm, precise=True)
        assert report.passed[-2:] == ("large means", "bfloat16")
        assert not report.notes


def test_a_layer_that_cannot_be_put_into_double_is_tried_in_float32():
    class Single(Right):
        def forward(self, x):
            if x.dtype != torch.float32:
                raise TypeError("float32 only")
            return super().forward(x)

    assert hg.check_batch_norm(Single).dtype == "float32"
    assert hg.check_batch_norm(Right).dtype == "float64"


def test_it_is_deterministic_and_leaves_random_numbers_and_modes_alone():
    class Drawing(Right):
        def __init__(self, channels):
            super().__init__(channels)
            torch.rand(3), np.random.random(), random.random()  # noqa: NPY002  # the state that must stay

    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002  # the state that must stay

    before = states()
    assert repr(hg.check_batch_norm(Drawing)) == repr(hg.check_batch_norm(Drawing))
    with pytest.raises(BatchNormError):
        hg.check_batch_norm(WRONG["gamma random"][0])
    assert states() == before
    with torch.no_grad():
        hg.check_batch_norm(Right)
        assert not torch.is_grad_enabled()
    with torch.inference_mode(), torch.device("meta"):
        hg.check_batch_norm(Right)
    torch.set_default_dtype(torch.float64)
    try:
        hg.check_batch_norm(Right)
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_is_no_class_is_refused():
    with pytest.raises(TypeError, match=r"norm='batch' is a name; .* check_batch_norm\(MyBatchNorm\)"):
        hg.check_batch_norm("batch")
    with pytest.raises(ValueError, match="is one layer"):
        hg.check_batch_norm(Right(3))
    with pytest.raises(ValueError, match="norm=7 is unknown"):
        hg.check_batch_norm(7)


def test_other_normalisations_are_told_apart():
    for norm, words in (
        (hg.nn.LayerNorm, "layer normalisation"),
        (hg.nn.InstanceNorm, "instance normalisation"),
        (nn.Identity, "gamma is missing"),
    ):
        with pytest.raises(BatchNormError, match=words):
            hg.check_batch_norm(norm)


def test_a_notebook_shows_the_explanation_without_a_traceback():
    with pytest.raises(BatchNormError) as caught:
        hg.check_batch_norm(WRONG["unbiased"][0])
    shown = "\n".join(caught.value._render_traceback_())
    assert shown == f"BatchNormError: {caught.value}"
    with pytest.raises(BatchNormError) as caught:
        hg.check_batch_norm(WRONG["raises"][0])
    shown = "\n".join(caught.value._render_traceback_())
    assert "wrong_norms.py" in shown  # the line in the learner's own class
