"""Every network under PyTorch's transforms and compilers: the same numbers, or a refusal in words."""

import copy
import warnings

import pytest
import torch
from torch import func, nn
from torch.autograd import forward_ad

from hourglass.nn import (
    NORMS,
    ConvCodec,
    ConvNet,
    DenseCodec,
    LSTMClassifier,
    SameConv2d,
    SamePool2d,
    TransposedConv2d,
    UpsampleConv2d,
    create_norm,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    # PyTorch's own batch normalisation in training has no rule for many networks at once.
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
]

NETWORKS = {
    "dense": (lambda: DenseCodec((8, 8, 1), 5), (3, 1, 8, 8)),
    "conv": (lambda: ConvCodec((8, 8, 1), (16, 4)), (3, 1, 8, 8)),
    "conv-odd": (lambda: ConvCodec((7, 9, 2), (4, 3), norm="group"), (3, 2, 7, 9)),
    "conv-transposed": (lambda: ConvCodec((8, 8, 1), (16, 4), "transposed", norm="batch"), (3, 1, 8, 8)),
    "conv-skip": (lambda: ConvCodec((9, 7, 1), (16, 4), skip=True, residual=True, norm="batch-manual"), (3, 1, 9, 7)),
    **{f"net-{name}": (lambda name=name: ConvNet((2, 2, 1), 3, depth=4, norm=name), (3, 1, 2, 2)) for name in NORMS},
    "lstm": (lambda: LSTMClassifier(5, 7, 3, steps=4), (3, 4, 5)),
    "lstm-plain": (lambda: LSTMClassifier(5, 7, 3, gamma=None), (3, 4, 5)),
}
NORMED = [name for name in NETWORKS if name.startswith("net-") and name != "net-none"]


def started(name, seed=0):
    network = NETWORKS[name][0]()
    network.reset_parameters(torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for key, buffer in network.named_buffers():
            if "running" in key:
                buffer.add_(0.3 * torch.rand(buffer.shape, generator=generator))
    return network.eval()


def given(name, n=None):
    shape = NETWORKS[name][1]
    return torch.randn(n or shape[0], *shape[1:], generator=torch.Generator().manual_seed(7))


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def near(found, expected):
    """Equal as vectors; a normalised convolution's bias has a gradient of rounding alone."""
    found, expected = (torch.cat([value.flatten() for value in values]) for values in (found, expected))
    assert (found - expected).norm() <= 1e-3 * expected.norm()


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


def test_vmap_is_one_by_one(name):
    network, x = started(name), given(name)
    with torch.no_grad():
        close(func.vmap(lambda row: network(row[None])[0])(x), network(x))


def test_jacobians_of_all_kinds_agree(name):
    network, x = started(name), given(name, 1)
    expected = torch.autograd.functional.jacobian(network, x)
    assert expected.norm() > 0
    near([func.jacrev(network)(x)], [expected])
    near([func.jacfwd(network)(x)], [expected])
    near([torch.autograd.functional.jacobian(network, x, vectorize=True)], [expected])
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(network(forward_ad.make_dual(x, torch.ones_like(x)))).tangent
        near([tangent.detach()], [expected.sum(list(range(tangent.dim(), expected.dim())))])


def test_gradients_by_functional_call_are_those_of_backward(name):
    network, x = started(name), given(name)
    parameters = {key: value.detach() for key, value in network.named_parameters()}
    found = func.grad(lambda p: func.functional_call(network, p, (x,)).square().sum())(parameters)
    network(x).square().sum().backward()
    near(found.values(), [p.grad for p in network.parameters()])
    each = func.vmap(
        func.grad(lambda p, row: func.functional_call(network, p, (row[None],)).square().sum()), in_dims=(None, 0)
    )(parameters, x)
    near([gradients.sum(0) for gradients in each.values()], found.values())


@pytest.mark.parametrize("training", [False, True])
def test_an_ensemble_in_one_call(name, training):
    members = [started(name, seed).train(training) for seed in range(3)]
    if name == "lstm":
        for member in members:
            member.noise = 0.0
    x = given(name)
    parameters, buffers = func.stack_module_state(members)
    base = members[0]

    def call(p, b):
        # The layers write into the buffers, so that the caller gets them back.
        return func.functional_call(base, (p, b), (x,)), b

    found, after = func.vmap(call)(parameters, buffers)
    for place, member in enumerate(members):
        close(found[place], member(x))
        for key, buffer in member.named_buffers():
            torch.testing.assert_close(after[key][place], buffer, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NORMED)
def test_gradients_in_training_mode_by_functional_call(name):
    network, x = started(name).train(), given(name, 8)
    parameters = {key: value.detach() for key, value in network.named_parameters()}
    buffers = {key: value.clone() for key, value in network.named_buffers()}

    def loss(parameters, buffers):
        return func.functional_call(network, (parameters, buffers), (x,)).square().mean(), buffers

    found, after = func.grad(loss, has_aux=True)(parameters, buffers)
    network(x).square().mean().backward()
    near(found.values(), [p.grad for p in network.parameters()])
    for key, buffer in network.named_buffers():
        close(after[key], buffer)


def test_an_exported_graph_takes_any_number_of_images(name):
    network = started(name)
    exported = torch.export.export(network, (given(name),), dynamic_shapes=({0: torch.export.Dim("n")},))
    for n in (1, 3, 7):
        if n > 1:
            close(exported.module()(given(name, n)), network(given(name, n)))


def test_a_trace_takes_any_number_of_images_without_a_warning(name):
    network = started(name)
    with warnings.catch_warnings():
        if "group" in name or "instance" in name or "layer" in name or name == "conv-odd":
            # PyTorch's own group normalisation looks at the size.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace(network, given(name))
    for n in (1, 7):
        close(traced(given(name, n)), network(given(name, n)))


def test_torchscript_is_refused_in_words(name):
    network = started(name)
    before = copy.deepcopy(network.state_dict())
    for module in (network, nn.Sequential(nn.Identity(), network)):
        with pytest.raises(TypeError, match=r"torch\.jit\.script cannot compile a \w+, .* use torch\.export\.export"):
            torch.jit.script(module)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


LAYERS = [
    *(lambda name=name: create_norm(name, 4) for name in NORMS if name != "none"),
    lambda: SameConv2d(4, 4), SamePool2d, lambda: UpsampleConv2d(4, 4), lambda: TransposedConv2d(4, 4),
]  # fmt: skip


@pytest.mark.parametrize("build", LAYERS)
def test_torchscript_is_refused_by_each_layer(build):
    with pytest.raises(TypeError, match=r"torch\.jit\.script cannot compile"):
        torch.jit.script(build())


@pytest.mark.parametrize(("training", "backend"), [(False, "eager"), (True, "aot_eager")])
def test_compiled_in_one_graph(name, training, backend):
    torch.compiler.reset()
    network, x = started(name).train(training), given(name, 6)
    if name == "lstm":
        network.noise = 0.0
    other = copy.deepcopy(network)
    output = torch.compile(other, backend=backend, fullgraph=True)(x)
    expected = network(x)
    close(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    near([p.grad for p in other.parameters()], [p.grad for p in network.parameters()])
    for found, buffer in zip(other.buffers(), network.buffers(), strict=True):
        close(found, buffer)
    # Another number of images compiles anew, and in inference nothing else changes.
    with torch.no_grad():
        close(torch.compile(other, backend=backend)(given(name, 4)), network(given(name, 4)))


@pytest.mark.parametrize("name", ["conv", "net-batch-manual", "conv-skip"])
def test_second_derivatives_of_a_compiled_network(name):
    torch.compiler.reset()
    network = started(name)

    def product(module):
        [slope] = torch.autograd.grad(module(x).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), x)[0]

    # The eager backend alone: PyTorch's ahead-of-time autograd refuses double backward.
    network.double()
    x = given(name).double().requires_grad_()
    near(product(torch.compile(network, backend="eager", fullgraph=True)), product(network))


def test_symbolic_tracing_works_or_is_refused_by_pytorch(name):
    network = started(name)
    try:
        traced = torch.fx.symbolic_trace(network)
    except (torch.fx.proxy.TraceError, TypeError) as error:
        assert name != "dense"
        assert "symbolically traced" in str(error) or "Proxy" in str(error)  # noqa: PT017
    else:
        close(traced(given(name)), network(given(name)))


@pytest.mark.parametrize("norm", ["batch", "ghost", "layer", "group", "instance"])
def test_symbolic_tracing_takes_normalisations_by_pytorchs_kernels(norm):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), create_norm(norm, 4)).eval()
    x = torch.randn(2, 1, 6, 6)
    close(torch.fx.symbolic_trace(network)(x), network(x))


def test_dynamic_quantisation_leaves_normalisations_alone():
    if not torch.backends.quantized.supported_engines or torch.backends.quantized.engine == "none":
        pytest.skip("this PyTorch has no quantised kernels")
    network = nn.Sequential(nn.Linear(6, 4), create_norm("ghost", 4), nn.Linear(4, 2)).eval()
    x = torch.randn(5, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch moves its quantisation elsewhere
        quantised = torch.ao.quantization.quantize_dynamic(network)
        torch.testing.assert_close(quantised(x), network(x), rtol=0.1, atol=0.1)
