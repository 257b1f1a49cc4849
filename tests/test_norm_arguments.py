"""Arguments of the normalisations: dtypes, numbers that are refused, descriptions."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hourglass.nn import (
    NORMS,
    BatchRenorm,
    FrameworkBatchNorm,
    GhostBatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    ManualBatchNorm,
)
from norm_formulas import MAPS, MOVING, NAMES, batch, close, formula, make, randomised


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_made_in_the_dtype_that_is_asked_for(name):
    norm = make(name, dtype=torch.float64)
    assert norm.weight.dtype == torch.float64
    if name in MOVING:
        assert norm.running_var.dtype == torch.float64
        assert norm.num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_have_no_fraction_are_refused(name):
    for dtype in (torch.uint8, torch.int64, torch.complex64):
        with pytest.raises(TypeError, match=r"expected floating-point numbers: call x\.float\(\) first"):
            make(name)(torch.ones(MAPS, dtype=dtype))


@pytest.mark.parametrize("name", NAMES)
def test_an_epsilon_below_zero_is_refused(name):
    for eps in (-1e-5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected 0 or more"):
            make(name, eps=eps)


def test_mixed_precision_that_pytorch_refuses_is_refused_or_right():
    for name in NAMES:
        for module, given in [
            (torch.float64, torch.float32),
            (torch.float32, torch.float64),
            (torch.half, torch.float32),
        ]:
            norm, x = randomised(make(name)).to(module), batch(dtype=given)
            expected, _ = formula(name, norm, x.double(), training=True)
            try:
                output = norm(x)
            except RuntimeError as error:
                assert name not in ("batch-manual", "renorm")
                assert "type" in str(error)  # noqa: PT017
            else:
                assert output.dtype == given
                close(output.detach(), expected, torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_named_and_described(name):
    kind = NORMS[name]
    parameters = inspect.signature(kind).parameters
    assert not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values())
    described = kind.__doc__.partition("Parameters\n")[2].partition("Raises\n")[0]
    for parameter in parameters:
        assert f" {parameter} :" in described, f"{parameter} of {kind.__name__}"
    assert "As in :class:" not in described
    if name in MOVING:
        positional = list(inspect.signature(nn.BatchNorm2d).parameters)[:7]
        assert list(parameters)[:7] == positional
    assert "Attributes" in kind.__doc__


def test_the_table_has_every_normalisation():
    public = {FrameworkBatchNorm, ManualBatchNorm, LayerNorm, GroupNorm, InstanceNorm, GhostBatchNorm, BatchRenorm}
    assert {NORMS[name] for name in NAMES} == public


def test_a_ghost_batch_without_moving_statistics_is_normalised_by_parts_in_inference_too():
    norm = make("ghost", track_running_stats=False)
    x = batch(dtype=torch.float32)
    assert torch.equal(norm.eval()(x), norm.train()(x))
    small = F.batch_norm(x[:4], None, None, norm.weight, norm.bias, training=True)
    close(norm(x[:4]).detach(), small.detach(), torch.float32)
