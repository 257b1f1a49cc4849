"""The private names of PyTorch that ``runtime/internals.py`` relies on: they are there, and mean what it says.

A failure here, with a new version of PyTorch, names what has to be found again.
"""

import ast
import re
import sys
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


def test_operations_are_seen_with_their_numbers_and_by_their_names():
    seen = []

    class Watch(internals.Operations):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append((function.overloadpacket.__name__, args))
            return function(*args, **(kwargs or {}))

    conv, x = nn.Conv2d(1, 2, 3, stride=2, padding=(1, 0)), torch.ones(1, 1, 5, 5)
    with torch.no_grad(), Watch():
        y = torch.relu_(conv(nn.functional.pad(x, (1, 2, 3, 4))))
        nn.functional.max_pool2d(torch.cat([y, y]), 2, ceil_mode=True)
        nn.functional.linear(torch.ones(1, 3), torch.ones(2, 3), torch.ones(2))
    names = [name for name, _ in seen if name not in ("t", "ones")]
    assert names == ["constant_pad_nd", "convolution", "relu_", "cat", "max_pool2d_with_indices", "addmm"]
    arguments = dict(seen)
    assert list(arguments["constant_pad_nd"][1]) == [1, 2, 3, 4]
    stride, padding, dilation, transposed, _, groups = arguments["convolution"][3:]
    assert [list(stride), list(padding), list(dilation), transposed, groups] == [[2, 2], [1, 0], [1, 1], False, 1]


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


def test_no_other_module_touches_private_names_of_pytorch():
    for path in Path(hourglass.__file__).parent.rglob("*.py"):
        if path.relative_to(Path(hourglass.__file__).parent) != Path("runtime", "internals.py"):
            for name in private_names_of_pytorch(ast.parse(path.read_text())):
                pytest.fail(f"{path.name}: {name}")


def private_names_of_pytorch(tree):
    """Names of PyTorch with a part that begins with one underscore, as the imports of a module say."""
    homes = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            homes |= {name.asname or name.name.split(".")[0]: name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            homes |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    used = list(homes.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base, _, rest = ast.unparse(node).partition(".")
            used.append(f"{homes.get(base, base)}.{rest}")
    return [name for name in used if re.match(r"torch\b(\.\w+)*\._(?!_)", name)]


def test_the_search_for_private_names_finds_them():
    found = private_names_of_pytorch(ast.parse(Path(internals.__file__).read_text()))
    assert {"torch._fused_adam_", "torch.autograd.forward_ad._current_level"} <= set(found)
    for text in (
        "from torch._C import x",
        "from torch.optim import _x",
        "import torch._C as c",
        "import torch as t; t._x",
    ):
        assert private_names_of_pytorch(ast.parse(text)), text


def steps_of_adam(step):
    """Parameters and state after three calls of ``step`` with parameters, their state and the constants of a group."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(5, generator=generator, requires_grad=True)
    optimiser = torch.optim.Adam([p], 0.1, fused=True)
    for _ in range(3):
        p.grad = torch.randn(5, generator=generator)
        if not optimiser.state:
            optimiser.state[p] = {"step": torch.zeros(()), "exp_avg": torch.zeros(5), "exp_avg_sq": torch.zeros(5)}
        step(optimiser, p)
    return [p.detach(), *(optimiser.state[p][name] for name in ("step", "exp_avg", "exp_avg_sq"))]


def test_the_fused_kernel_does_what_adam_does():
    def fused(optimiser, p):
        state = [[optimiser.state[p][name]] for name in ("exp_avg", "exp_avg_sq", "step")]
        with torch.no_grad():
            state[2][0].add_(1)
            internals.fused_adam([p], *state, optimiser.param_groups[0])

    for ours, theirs in zip(steps_of_adam(fused), steps_of_adam(lambda optimiser, _: optimiser.step()), strict=True):
        assert torch.equal(ours, theirs)


def test_hooks_of_optimisers_are_where_they_are_looked_for():
    p = torch.ones(1, requires_grad=True)
    optimiser = torch.optim.SGD([p], 0.1)
    everywhere = sys.modules[torch.optim.Optimizer.__module__]
    for register, table in (
        (optimiser.register_step_pre_hook, optimiser._optimizer_step_pre_hooks),
        (optimiser.register_step_post_hook, optimiser._optimizer_step_post_hooks),
        (everywhere.register_optimizer_step_pre_hook, everywhere._global_optimizer_pre_hooks),
        (everywhere.register_optimizer_step_post_hook, everywhere._global_optimizer_post_hooks),
    ):
        assert len(table) == 0
        handle = register(lambda *_: None)
        assert len(table) == 1
        handle.remove()


def test_pytorch_leaves_a_step_alone_that_says_it_has_hooks():
    class Ours(torch.optim.SGD):
        @internals.hooked_if_needed
        def step(self, closure=None):
            return "plain"

    step = Ours.step
    optimiser, called = Ours([torch.ones(1, requires_grad=True)], 0.1), []
    assert Ours.step is step  # else the constructor has wrapped it
    assert optimiser.step() == "plain"
    optimiser.register_step_post_hook(lambda *_: called.append("after"))
    assert optimiser.step() == "plain"
    assert called == ["after"]
