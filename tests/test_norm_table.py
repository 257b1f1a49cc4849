"""Every normalisation where PyTorch's users put ``nn.BatchNorm2d``: one table of uses, dtypes, modes and layouts."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from hourglass.nn import NORMS
from norm_formulas import (
    BY_BATCH,
    CHANNELS,
    DTYPES,
    MAPS,
    MOVING,
    NAMES,
    ROWS,
    batch,
    close,
    formula,
    make,
    randomised,
    tolerance,
)


def check(name, norm, x, training=True, dtype=None, within=None, *, gradient=True):
    """Value, type, layout, gradient and buffers against the formula; for some a view and an in-place ReLU follow."""
    dtype = dtype or x.dtype
    norm.train(training)
    x = x.requires_grad_()
    wide = x.detach().double().requires_grad_()
    expected, state = formula(name, norm, wide, training)
    # Where an output is about 0, rounding decides whether ReLU passes its gradient.
    direction = batch(x.shape, seed=5) * (expected.detach().abs() > tolerance(dtype))
    expected.relu().mul(direction).sum().backward()
    strides = nn.BatchNorm2d(CHANNELS)(x.detach().float()).stride() if x.dim() == 4 else x.stride()
    with within or torch.autocast("cpu", enabled=False):
        output = norm(x)
    assert output.dtype == x.dtype
    # The stride of an axis of one place means nothing.
    assert all(a == b for a, b, size in zip(output.stride(), strides, x.shape, strict=True) if size > 1)
    close(output, expected.detach(), dtype)
    output.relu_().double().mul(direction).sum().backward()
    if gradient:
        close(x.grad, wide.grad, dtype, 4)
    for key, value in state.items():
        close(norm.get_buffer(key), value, dtype)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "slice", "rows"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_value_gradient_layout_and_buffers(name, dtype, training, layout):
    """The module and the input cast to the same type."""
    shape, layout = (ROWS, "contiguous") if layout == "rows" else (MAPS, layout)
    if name == "instance" and shape == ROWS:
        return  # refused: tests/test_norms.py
    for momentum in (0.1, 0.0, 1.0, None) if name in MOVING else [None]:
        options = {"momentum": momentum} if name in MOVING else {}
        check(name, randomised(make(name, **options)).to(dtype), batch(shape, dtype, layout), training)


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_float32_module_takes_half_precision_alone_and_under_autocast(name, dtype, training):
    for within in (None, torch.autocast("cpu", dtype)):
        check(name, randomised(make(name)), batch(MAPS, dtype), training, dtype, within)
        if within:
            check(name, randomised(make(name)), batch(MAPS, torch.float32), training, dtype, within)


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("name", NAMES)
def test_without_scale_shift_or_moving_statistics(name, training):
    shift = [{"bias": False}, {"affine": False, "track_running_stats": False}, {"track_running_stats": False}]
    for options in [{"affine": False}, *(shift if name in MOVING else [])]:
        if name == "renorm" and "track_running_stats" in options:
            with pytest.raises(ValueError, match="nothing to correct towards; use FrameworkBatchNorm"):
                make(name, **options)
            continue
        norm = randomised(make(name, **options)).double()
        assert (norm.weight is None) == (not options.get("affine", True))
        assert norm.bias is None or options.get("bias", options.get("affine", True))
        check(name, norm, batch(), training)
        norm.reset_parameters()
        if "track_running_stats" not in options and name in MOVING:
            norm.reset_running_stats()
            assert torch.equal(norm.running_var, torch.ones(CHANNELS, dtype=torch.float64))
            assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("shape", [(5, 4, 1, 1), (1, 4, 3, 3), (3, 4, 1, 6), (2, 4, 2, 1)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", NAMES)
def test_layout_of_small_maps_is_pytorchs(name, layout, shape):
    if name == "instance" and shape[2:] == (1, 1):
        return
    # A group of two values has a gradient of rounding alone.
    check(name, randomised(make(name)), batch(shape, torch.float32, layout), gradient=False)
    output = make(name).eval()(batch(shape, torch.float32))
    assert output.view(shape[0], -1).shape == (shape[0], 4 * shape[2] * shape[3])


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [MAPS, ROWS], ids=["2d", "1d"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"momentum": 0.3}, {"momentum": None}, {"affine": False}, {"bias": False}, {"track_running_stats": False},
        {"affine": False, "track_running_stats": False}, {"eps": 1e-3, "momentum": 0.0},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", BY_BATCH)
def test_it_is_pytorchs_batch_normalisation(name, options, shape, dtype, training):
    """Three batches, of which the last has the other mode."""
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    ours, theirs = (randomised(each(CHANNELS, **options)).to(dtype) for each in (NORMS[name], kind))
    for seed in range(3):
        results = []
        for norm in (ours, theirs):
            norm.train(training if seed < 2 else not training)
            norm.zero_grad()
            x = batch(shape, dtype, seed=seed).requires_grad_()
            output = norm(x)
            output.backward(batch(shape, dtype, seed=7))
            results.append([output.detach(), x.grad, *(p.grad for p in norm.parameters()), *norm.buffers()])
        for found, expected in zip(*results, strict=True):
            assert found.dtype == expected.dtype
            close(found, expected, dtype)


@pytest.mark.parametrize("name", BY_BATCH)
def test_its_state_goes_both_ways(name):
    ours, theirs = randomised(make(name)), nn.BatchNorm2d(CHANNELS)
    theirs.load_state_dict(ours.state_dict())
    again = make(name)
    again.load_state_dict(theirs.state_dict())
    x = batch(dtype=torch.float32)
    close(again.eval()(x), theirs.eval()(x), torch.float32)
    # State of PyTorch before 0.4.1 has no count of batches.
    old = {key: value for key, value in theirs.state_dict().items() if "tracked" not in key}
    make(name).load_state_dict(old)
    with pytest.raises(RuntimeError, match="Missing key"):
        make(name).load_state_dict({"weight": old["weight"]})


@pytest.mark.parametrize("name", NAMES)
def test_copies_pickles_and_files_compute_the_same(name):
    norm, x = randomised(make(name)), batch(dtype=torch.float32)
    saved = io.BytesIO()
    torch.save(norm, saved)
    saved.seek(0)
    loaded = make(name)
    loaded.load_state_dict(norm.state_dict())
    copies = [
        copy.deepcopy(norm), copy.copy(norm), pickle.loads(pickle.dumps(norm)),  # noqa: S301
        torch.load(saved, weights_only=False), loaded,
    ]  # fmt: skip
    for twin in copies:
        assert repr(twin) == repr(norm)
        for training in (False, True):
            assert torch.equal(copy.deepcopy(twin).train(training)(x), copy.deepcopy(norm).train(training)(x))


@pytest.mark.parametrize("name", NAMES)
def test_other_parameters_by_functional_call(name):
    norm, x = make(name), batch(dtype=torch.float32)
    state = {k: v.detach().clone() for k, v in randomised(make(name)).state_dict().items()}
    before = copy.deepcopy(norm.state_dict())
    for training in (False, True):
        expected = randomised(make(name)).train(training)
        output = torch.func.functional_call(norm.train(training), state, (x,))
        assert torch.equal(output, expected(x))
    assert all(torch.equal(value, norm.state_dict()[key]) for key, value in before.items())
    assert all(torch.equal(value, state[key]) for key, value in expected.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_have_no_gradient_and_the_input_has(name):
    norm, x = randomised(make(name)).requires_grad_(False), batch().requires_grad_()
    norm.double()(x).square().sum().backward()
    assert x.grad.abs().max() > 0
    assert all(p.grad is None for p in norm.parameters())
    norm.requires_grad_()
    norm(batch()).square().sum().backward()
    assert all(p.grad is not None for p in norm.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_no_image_at_all(name):
    for shape in [(0, 4, 3, 5), (0, 4)]:
        if name == "instance" and len(shape) == 2:
            continue
        assert make(name).eval()(torch.zeros(shape)).shape == shape
        if name in MOVING:
            norm = make(name)
            with pytest.raises(ValueError, match="no value in x of shape"):
                norm(torch.zeros(shape))
            assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_known_on_the_meta_device(name, momentum):
    if momentum is None and name in ("batch", "ghost"):
        return  # PyTorch's own layer asks for the number of batches, which is not known there
    options = {"momentum": momentum} if name in MOVING else {}
    for norm in (make(name, **options).to("meta"), make(name, device="meta", **options)):
        for training in (True, False):
            output = norm.train(training)(torch.empty(MAPS, device="meta"))
            assert output.shape == MAPS
            assert output.is_meta
        norm.to_empty(device="cpu").reset_parameters()
        assert torch.equal(norm.weight.detach(), torch.ones(CHANNELS))
