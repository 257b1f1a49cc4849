"""The private names of PyTorch that ``runtime/internals.py`` relies on: they are there, and mean what it says.

A failure here, with a new version of PyTorch, names what has to be found again.
"""

import ast
import warnings
from pathlib import Path

import pytest
import torch
from torch import func, nn
from torch.autograd import forward_ad

import hourglass
from hourglass.nn import GhostBatchNorm
from hourglass.runtime import internals


def test_the_bases_are_those_that_pytorchs_tools_look_for():
    for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm):
        assert issubclass(kind, internals.BatchNorm)
        assert issubclass(kind, internals.AnyNorm)
    assert issubclass(nn.InstanceNorm2d, internals.AnyNorm)
    assert not issubclass(nn.InstanceNorm2d, internals.BatchNorm)
    assert not issubclass(nn.GroupNorm, internals.AnyNorm)


def test_native_bfloat16_is_what_the_processor_says():
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("there is no /proc/cpuinfo to compare with")
    assert internals.has_native_bfloat16() == ("avx512_bf16" in cpuinfo.read_text())


def observed(transform):
    """What a function of ours sees inside a transform."""
    seen = []

    def function(x):
        seen.append((internals.is_recorded(), internals.is_transformed()))
        return x * 2

    transform(function, torch.ones(3))
    return set(seen)


def test_ordinary_autograd_is_no_transform():
    assert observed(lambda f, x: f(x)) == {(False, False)}
    assert observed(lambda f, x: f(x.requires_grad_()).sum().backward()) == {(False, False)}
    with torch.inference_mode():
        assert observed(lambda f, x: f(x)) == {(False, False)}


def dual(function, x):
    with forward_ad.dual_level():
        function(forward_ad.make_dual(x, x))


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: func.vmap(f)(x),
        lambda f, x: func.jacrev(f)(x),
        lambda f, x: func.jacfwd(f)(x),
        lambda f, x: func.grad(lambda x: f(x).sum())(x),
        lambda f, x: func.functionalize(f)(x),
        dual,
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_transforms_are_seen_and_end(transform):
    assert observed(transform) == {(False, True)}
    assert not internals.is_transformed()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_graphs_that_are_recorded_are_seen_and_end():
    assert observed(lambda f, x: torch.jit.trace(f, x, check_trace=False)) == {(True, True)}

    class Asks(nn.Module):
        def forward(self, x):
            return x + 1 if internals.is_recorded() and internals.is_transformed() else x

    exported = torch.export.export(Asks(), (torch.zeros(2),)).module()
    compiled = torch.compile(Asks(), backend="eager", fullgraph=True)
    for recorded in (exported, compiled):
        assert torch.equal(recorded(torch.zeros(2)), torch.ones(2))
    assert not internals.is_recorded()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_shapes_are_plain_numbers_and_tracing_goes_on():
    seen = []

    def function(x):
        shape = internals.shape_of(x)
        seen.append(shape)
        if shape[0] == 2:  # a decision by a tensor would be warned of
            x = x + 1
        return x * x.shape[1]

    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(function, torch.zeros(2, 3))
    assert seen[0] == (2, 3)
    assert all(type(size) is int for size in seen[0])
    assert torch.equal(traced(torch.zeros(2, 5)), torch.full((2, 5), 5.0))
    assert internals.shape_of(torch.zeros(4, 0)) == (4, 0)


@pytest.mark.parametrize("batched", ["legacy", "func", False])
def test_batches_of_gradients_are_seen(batched):
    seen = []

    class Seeing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            seen.append(internals.is_batched(grad))
            return grad * 2

    x = torch.ones(3, requires_grad=True)
    y = Seeing.apply(x)
    if batched == "legacy":
        torch.autograd.grad(y, x, torch.eye(3), is_grads_batched=True)
    elif batched == "func":
        func.vmap(lambda v: torch.autograd.grad(y, x, v))(torch.eye(3))
    else:
        torch.autograd.grad(y, x, torch.ones(3))
    assert seen == [bool(batched)]


def test_stand_ins_of_symbolic_tracing_have_no_values():
    assert internals.has_values(torch.zeros(1))
    seen = []
    torch.fx.symbolic_trace(lambda x: seen.append(internals.has_values(x)) or x)
    assert seen == [False]


def test_the_conversion_to_synchronised_layers_still_asks_for_qconfig():
    """Else a ghost batch normalisation would be replaced without a word."""
    with pytest.raises(TypeError, match="cannot become a SyncBatchNorm"):
        nn.SyncBatchNorm.convert_sync_batchnorm(GhostBatchNorm(3))

    def convert_sync_batchnorm(module):  # as other libraries have it
        return hasattr(module, "qconfig")

    with pytest.raises(TypeError, match="cannot become a SyncBatchNorm"):
        convert_sync_batchnorm(GhostBatchNorm(3))
    with pytest.raises(AttributeError, match="qconfig"):
        GhostBatchNorm.qconfig  # noqa: B018


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_still_asks_modules_to_prepare():
    class Asked(internals.OnlyTraced, nn.Identity):
        pass

    with pytest.raises(TypeError, match="cannot compile a Asked"):
        torch.jit.script(nn.Sequential(Asked()))


def test_no_other_module_of_the_networks_touches_private_names():
    for path in (Path(hourglass.__file__).parent / "nn").glob("*.py"):
        if path.name == "internals.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                assert not ast.unparse(node).startswith(("torch.", "nn.", "F.")), f"{path.name}: {ast.unparse(node)}"
