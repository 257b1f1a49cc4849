"""Gradients of gradients: every hand-written gradient, and every module that uses one, against plain operations."""

import importlib
import pkgutil

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.autograd.functional import hessian, hvp

import hourglass
from hourglass.nn import (
    ManualBatchNorm,
    fast,
)
from hourglass.nn.manual import _Normalise
from hourglass.nn.processes import _Total

# PyTorch compiles its own decompositions for forward-mode differentiation.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def leaf(*shape, seed=0):
    return drawn(*shape, seed=seed).requires_grad_()


def normalised(x, weight, bias):
    axes, count = [0, *range(2, x.dim())], x.numel() // x.shape[1]
    mean, variance = x.detach().mean(axes), x.detach().var(axes, unbiased=False)
    return _Normalise.apply(x, weight, bias, mean, variance, 1e-3, count, False)


FUNCTIONS = {
    _Normalise: (normalised, lambda: (leaf(4, 2, 2, 3), leaf(2, seed=1), leaf(2, seed=2))),
    _Total: (_Total.apply, lambda: (leaf(3),)),
    fast._Interleave: (fast._Interleave.apply, lambda: (leaf(2, 8, 3, 4),)),
    fast._Separate: (fast._Separate.apply, lambda: (leaf(2, 2, 4, 6),)),
    fast._FewOutputs: (fast._FewOutputs.apply, lambda: (leaf(2, 3, 4, 3), leaf(2, 3, 3, 3, seed=1), leaf(2, seed=2))),
}
"""Each hand-written gradient: the function as one of tensors, and inputs for it."""


def defined_functions():
    for module in pkgutil.walk_packages(hourglass.__path__, "hourglass."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [torch.autograd.Function]
    while waiting:
        below = waiting.pop().__subclasses__()
        waiting += below
        found |= {kind for kind in below if kind.__module__.startswith("hourglass")}
    return found


def test_every_gradient_by_hand_is_in_the_table():
    assert defined_functions() == set(FUNCTIONS)


@pytest.fixture
def two_processes(monkeypatch):
    """As if another process had the same values."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: values.mul_(2))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_derivatives_by_finite_differences(function, two_processes):
    call, inputs = FUNCTIONS[function]
    assert gradcheck(call, inputs(), check_batched_grad=True)
    assert gradgradcheck(call, inputs(), check_batched_grad=True)


@pytest.mark.parametrize("place", range(3))
def test_frozen_inputs_of_the_few_outputs_have_no_gradient(place):
    inputs = [x.detach() for x in FUNCTIONS[fast._FewOutputs][1]()]
    inputs[place].requires_grad_()

    def call(x):
        return fast.few_outputs_conv2d(*inputs[:place], x, *inputs[place + 1 :])

    assert gradcheck(call, (inputs[place],))
    assert gradgradcheck(call, (inputs[place],))


FAST = {
    "upsample": (fast.upsample_conv2d, lambda x, w, b: F.conv2d(F.interpolate(x, scale_factor=2.0), w, b, padding=1)),
    "few outputs": (fast.few_outputs_conv2d, lambda x, w, b: F.conv2d(x, w, b, padding=1)),
    "one pixel": (fast.one_pixel_conv2d, lambda x, w, b: F.conv2d(x, w, b, padding=1)),
}


@pytest.mark.parametrize("name", FAST)
def test_second_derivatives_of_fast_functions_are_those_of_the_plain_ones(name):
    function, plain = FAST[name]
    size = (1, 1) if name == "one pixel" else (3, 2)
    inputs = (leaf(2, 3, *size), leaf(2, 3, 3, 3, seed=1), leaf(2, seed=2))
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)
    # Of a cubic function of the output, so that no second derivative is zero.
    found, expected = (hessian(lambda *x, f=f: f(*x).pow(3).sum(), inputs) for f in (function, plain))
    for row, other in zip(found, expected, strict=True):
        for value, plain_value in zip(row, other, strict=True):
            torch.testing.assert_close(value, plain_value)
    assert all(value.abs().max() > 0.1 for row in expected for value in row)


def batch_norm(x, norm):
    """Batch normalisation in training of plain operations."""
    axes, shape = [axis for axis in range(x.dim()) if axis != 1], [-1 if axis == 1 else 1 for axis in range(x.dim())]
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 3)])
def test_hessian_and_products_of_manual_batch_normalisation(shape):
    norm, x, v = ManualBatchNorm(3).double(), drawn(*shape), drawn(*shape, seed=1)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.5, -1.0]))

    def loss(normalise):
        return lambda x: normalise(x).pow(3).sum()

    ours, plain = loss(norm), loss(lambda x: batch_norm(x, norm))
    expected = hessian(plain, x)
    assert expected.abs().max() > 1
    torch.testing.assert_close(hessian(ours, x), expected)
    torch.testing.assert_close(hvp(ours, x, v)[1], hvp(plain, x, v)[1])
    func, moving = torch.func, dict(norm.named_buffers())
    with pytest.raises(RuntimeError, match="explicitly accept the mutated Tensor"):  # as with PyTorch's own
        func.hessian(ours)(x)

    def pure(x, moving):
        return func.functional_call(norm, moving, (x,)).pow(3).sum()

    torch.testing.assert_close(func.hessian(pure)(x, moving), expected)
    torch.testing.assert_close(func.jacrev(func.jacfwd(pure))(x, moving), expected)
    torch.testing.assert_close(func.jacrev(func.jacrev(pure))(x, moving), expected)
    torch.testing.assert_close(func.jacfwd(func.jacfwd(pure))(x, moving), expected)


@pytest.mark.parametrize("create_graph", [False, True])
def test_dual_numbers_through_the_gradient(create_graph):
    """Forward over reverse, where the gradient itself keeps no graph."""
    norm, x, v = ManualBatchNorm(3).double(), drawn(6, 3), drawn(6, 3, seed=1)
    results = []
    for normalise in (norm, lambda x: batch_norm(x, norm)):
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x.clone().requires_grad_(), v)
            [gradient] = torch.autograd.grad(normalise(dual).pow(3).sum(), dual, create_graph=create_graph)
            results.append(forward_ad.unpack_dual(gradient).tangent.detach())
    torch.testing.assert_close(*results)
    assert norm(x).isfinite().all()
    assert forward_ad._current_level < 0


def test_third_derivatives_too():
    norm, x = ManualBatchNorm(2).double(), drawn(4, 2).requires_grad_()
    results = []
    for normalise in (norm, lambda x: batch_norm(x, norm)):
        value = normalise(x).pow(3).sum()
        for _ in range(3):
            [gradient] = torch.autograd.grad(value, x, create_graph=True)
            value = gradient.pow(2).sum()
        results.append(gradient.detach())
    torch.testing.assert_close(*results)
    assert results[0].abs().max() > 1


@pytest.mark.parametrize("name", ["batch-manual", "upsample", "few outputs", "one pixel"])
def test_many_gradients_at_once(name):
    """``is_grads_batched`` and ``vectorize`` go backward with batches of gradients."""
    if name == "batch-manual":
        function, inputs = ManualBatchNorm(3).double(), (leaf(4, 3, 1, 1),)
    else:
        function, inputs = FAST[name][0], (leaf(2, 3, 1, 1), leaf(2, 3, 3, 3, seed=1), leaf(2, seed=2))
    one_by_one = torch.autograd.functional.jacobian(function, inputs)
    for found, expected in zip(
        torch.autograd.functional.jacobian(function, inputs, vectorize=True), one_by_one, strict=True
    ):
        torch.testing.assert_close(found, expected)
    output = function(*inputs)
    rows = torch.func.vmap(lambda v: torch.autograd.grad(output, inputs, v, retain_graph=True))(
        torch.eye(output.numel()).double().view(-1, *output.shape)
    )
    for found, expected in zip(rows, one_by_one, strict=True):
        torch.testing.assert_close(found.reshape(expected.shape), expected)

    def scalar(*x):
        return function(*x).pow(3).sum()

    found = hessian(scalar, inputs, vectorize=True)
    for row, other in zip(found, hessian(scalar, inputs), strict=True):
        torch.testing.assert_close(row, other)
