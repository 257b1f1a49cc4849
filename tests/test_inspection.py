"""Tables of layers: what is measured agrees with definitions, and with another count."""

import json
import math
import xml.etree.ElementTree
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import hourglass as hg
from hourglass.errors import OptionError
from hourglass.experiments import EXPERIMENTS
from hourglass.nn import ConvCodec, ConvNet, DenseCodec, RestorationNet
from hourglass.nn.recording import record_layers
from hourglass.pretrained import PRETRAINED
from hourglass.runtime import tricks


class Own(nn.Module):
    """A network of somebody else: functions between modules, shared weights, parameters of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 5, stride=2, padding=(1, 2)), nn.BatchNorm2d(6), nn.ReLU())
        self.depthwise = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3)
        self.shared = nn.Conv2d(6, 6, 1)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 4, 3))
        self.heads = nn.ModuleList([nn.Linear(4, 5), nn.Linear(5, 3)])
        self.unused = nn.Linear(7, 7)

    def forward(self, x):
        x = self.stem(x)
        y = torch.sigmoid(self.depthwise(input=F.pad(x, (1, 0, 0, 2))))
        y = F.avg_pool2d(self.shared(self.shared(y)), 2)
        y = F.interpolate(y, size=x.shape[2:])
        x = F.adaptive_avg_pool2d(self.normed(x * y), 2).mean((2, 3))
        return F.softmax(self.heads[1](torch.tanh(self.heads[0](x))) * self.scale, 1)


NETWORKS = {
    "dense": (DenseCodec((6, 7, 3), 5), (6, 7, 3)),
    "conv": (ConvCodec((28, 28, 1)), (28, 28, 1)),
    "odd": (ConvCodec((13, 19, 3), (4, 6), "transposed", skip=True, norm="batch-manual"), (13, 19, 3)),
    "residual": (ConvCodec((9, 5, 1), (3,), "transposed", residual=True, norm="group"), (9, 5, 1)),
    "strided": (ConvCodec((15, 28, 1), downsample="strided", upsample="transposed-2x2", code_channels=3), (15, 28, 1)),
    "wide": (ConvCodec((16, 16, 1), (32, 16), norm="renorm"), (16, 16, 1)),
    "deep": (ConvNet((28, 28, 1), 10, norm="batch"), (28, 28, 1)),
    "deep, plain": (ConvNet((28, 28, 1), 10, depth=4), (28, 28, 1)),
    "restoration": (RestorationNet(3, (4, 6, 8)), (24, 32, 3)),
    "own": (Own(), (17, 12, 2)),
}


@pytest.fixture(params=NETWORKS, name="case")
def _case(request):
    network, shape = NETWORKS[request.param]
    return network, torch.rand(1, shape[2], *shape[:2], generator=torch.Generator().manual_seed(1))


def test_all_parameters_and_multiplications_are_counted_once(case):
    network, image = case
    layers = record_layers(network, image)
    assert sum(layer.parameters for layer in layers) == sum(weight.numel() for weight in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad(), tricks.without():
        network.eval()(image)
    assert sum(layer.multiplications for layer in layers) == counter.get_total_flops() / 2


def test_sizes_are_those_that_the_modules_put_out(case):
    network, image = case
    sizes = []
    names = {layer.module for layer in record_layers(network, image) if layer.module and layer.output}
    handles = [
        module.register_forward_hook(lambda module, _, output, name=name: sizes.append((name, tuple(output.shape[1:]))))
        for name, module in network.named_modules()
        if name in names
    ]
    with torch.no_grad(), tricks.without():
        network.eval()(image)
    for handle in handles:
        handle.remove()
    layers = [layer for layer in record_layers(network, image) if layer.module and layer.output]
    assert [(each.module, (each.output[-1], *each.output[:-1])) for each in layers] == sizes


@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_and_padding_give_the_layers_outputs(name):
    """Each convolution and pool from its definition: zeros (or nothing) around the maps, then windows alone."""
    network, shape = NETWORKS[name]
    layers = record_layers(network, torch.rand(1, shape[2], *shape[:2]), keep=True)
    by_name = {layer.name: layer for layer in layers}
    seen = 0
    for layer in layers:
        if not layer.kernel or "dilation" in layer.kind:
            continue
        [(top, bottom), (left, right)] = layer.padding
        x = by_name[layer.inputs[0]].values
        if layer.kind == "mean pool":
            y = F.avg_pool2d(x, layer.kernel, layer.stride)
        elif layer.kind == "max pool":
            padded = F.pad(x, (left, right, top, bottom), value=-math.inf)
            y = F.max_pool2d(padded, layer.kernel, layer.stride)
        else:
            module = network.get_submodule(layer.module)
            module = getattr(module, "conv", module)
            if layer.kind == "convolution":
                y = F.conv2d(F.pad(x, (left, right, top, bottom)), module.weight, module.bias, layer.stride)
            else:
                y = F.conv_transpose2d(x, module.weight, module.bias, layer.stride)
                y = y[:, :, -top : y.shape[2] + bottom, -left : y.shape[3] + right]
        y = {"ReLU": F.relu, "sigmoid": torch.sigmoid, "": lambda y: y}[layer.activation](y)
        assert (*y.shape[2:], y.shape[1]) == layer.output
        np.testing.assert_allclose(y.detach(), layer.values, atol=1e-5)
        seen += 1
    assert seen == {"dense": 0}.get(name, seen)
    assert name == "dense" or seen


def test_a_recording_changes_nothing(case):
    network, image = case
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    record_layers(network, image)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_layers_have_readable_names_that_differ(case):
    layers = record_layers(*case)
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names)
    assert not [name for name in names if set(name) & set("._")]
    assert all(set(layer.inputs) <= set(names) for layer in layers)


def test_names_of_the_lessons_network():
    assert [layer.name for layer in record_layers(*_image("conv"))] == [
        "input", "encoder 1", "pool 1", "encoder 2", "pool 2", "encoder 3", "pool 3", "code", "upsample 1", "decoder 1",
        "upsample 2", "decoder 2", "upsample 3", "decoder 3", "output",
    ]  # fmt: skip


def _image(name):
    network, shape = NETWORKS[name]
    return network, torch.rand(1, shape[2], *shape[:2])


def test_tensorflows_padding_as_it_was_computed():
    layers = {layer.name: layer for layer in record_layers(*_image("deep"))}
    assert layers["conv 1"].padding == ((1, 1), (1, 1))
    assert layers["conv 3"].padding == ((0, 1), (0, 1))  # 28 to 14
    assert layers["conv 9"].padding == ((1, 1), (1, 1))  # 7 to 4
    assert [layers[f"conv {i}"].stride for i in (2, 3)] == [(1, 1), (2, 2)]


def test_of_another_network():
    layers = {layer.name: layer for layer in record_layers(*_image("own"))}
    assert list(layers) == [
        "input", "stem 1", "stem 2", "depthwise", "shared 1", "shared 2", "pool 1", "upsample", "skip", "normed",
        "pool 2", "head 1", "head 2", "network", "unused",
    ]  # fmt: skip
    assert layers["stem 2"].activation == "ReLU"
    assert layers["depthwise"].kind == "convolution in 3 groups, dilation 2"
    assert layers["depthwise"].padding == ((2, 4), (3, 2))
    assert layers["skip"].inputs == ("stem 2", "upsample")
    assert layers["shared 2"].parameters == 0
    assert (layers["network"].parameters, layers["unused"].parameters) == (3, 56)
    assert [layers[name].activation for name in ("depthwise", "head 1", "head 2")] == ["sigmoid", "tanh", "softmax"]


def test_skips_name_what_they_join():
    layers = record_layers(*_image("odd"))
    joined = [layer.inputs for layer in layers if layer.is_skip]
    assert joined == [("encoder norm 2", "decoder norm 1"), ("encoder norm 1", "decoder norm 2")]
    assert [layer.kind for layer in layers if layer.is_skip] == [
        "concatenate encoder norm 2", "concatenate encoder norm 1",
    ]  # fmt: skip
    [last] = [layer for layer in record_layers(*_image("residual")) if layer.is_skip]
    assert (last.kind, last.inputs) == ("add input", ("input", "output"))


@pytest.mark.parametrize("name", ["dense", "conv", "odd", "strided"])
def test_the_code_stands_where_it_is_computed(name):
    network, image = _image(name)
    layers = record_layers(network, image, keep=True)
    [place] = [i for i, layer in enumerate(layers) if layer.is_code]
    with torch.no_grad():
        expected = network.eval().encode(image)
    values = layers[place].values
    values = values.permute(0, 2, 3, 1).flatten(1) if values.dim() == 4 else values
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert layers[place].output == network.code_shape


@pytest.mark.parametrize("name", [*EXPERIMENTS, *PRETRAINED])
def test_every_name_has_a_table_that_fits_into_a_terminal(name):
    table = hg.layers_of(name)
    for width in (80, 120):
        lines = table.text(width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].startswith(f"{name}: ")
        assert all(any(line.startswith(layer.name) for line in lines) for layer in table)
    assert f"{table.parameters:,} parameters, {table.multiplications:,} multiplications" in table.summary
    assert "…" not in table.text(80)


def test_the_ratio_of_the_code():
    assert "The code has 128 of 784 numbers, 16%." in hg.layers_of("conv").summary
    assert "The code has 32 of 784 numbers, 4.1%." in hg.layers_of("dense").summary
    assert hg.layers_of("bn-none").code is None
    assert "detail also passes beside it (skip 1, skip 2, skip 3)" in hg.layers_of("digits").summary


def test_of_estimators_fitted_and_not(few, tmp_path):
    estimator = hg.ConvAutoencoder(channels=(3, 2), norm="layer", n_steps=1, random_state=0)
    images = few.train.images[:20, :25, :21]
    unfitted = hg.layers_of(estimator, (25, 21))
    estimator.fit(images)
    table = hg.layers_of(estimator)
    assert table.image.output == (25, 21, 1)
    assert table.layers == unfitted.layers
    assert hg.layers_of(estimator.network_).layers == table.layers
    hg.save(estimator, tmp_path / "model")
    assert hg.layers_of(tmp_path / "model").layers == table.layers
    larger = hg.layers_of(estimator, (50, 42))
    assert larger.multiplications > 3.9 * table.multiplications
    assert larger.parameters == table.parameters
    assert larger.ratio == pytest.approx(table.ratio, rel=0.2)
    classifier = hg.ConvClassifier(depth=2, n_steps=1).fit(few.train.images, few.train.labels)
    assert hg.layers_of(classifier).layers[-1].output == (10,)
    assert hg.layers_of(hg.ImageDenoiser(), (33, 40, 3)).layers[-1].output == (33, 40, 3)


def test_parameters_of_an_experiment():
    table = hg.layers_of("conv", parameters={"channels": (4,)})
    assert table.code.output == (14, 14, 4)
    for model in ("photo", hg.DenseAutoencoder()):
        with pytest.raises(OptionError, match="only an experiment's parameters"):
            hg.layers_of(model, parameters={"code_size": 3})


@pytest.mark.parametrize(
    ("model", "shape", "said"),
    [
        ("cnv", None, "'cnv' is neither an experiment, nor a model of the package, nor a folder; did you mean conv?"),
        ("resnet", None, "choose one of dense, conv"),
        ("dense", (27, 0), "image_shape=(27, 0)"),
        ("dense", (4,), "image_shape=(4,)"),
        (nn.Conv2d(3, 4, 3), None, "does not take images of 28×28×1"),
        (nn.Conv2d(1, 4, 3), (2, 2, 1), "does not take images of 2×2×1"),
    ],
)
def test_refusals(model, shape, said):
    with pytest.raises(OptionError) as error:
        hg.layers_of(model, shape)
    assert said in str(error.value)


def test_a_notebook_and_a_script_see_the_same_numbers():
    table = hg.layers_of("dense")
    assert "<td>25,120</td>" in table._repr_html_()
    assert json.loads(json.dumps(table.to_json()))["layers"][1] == {
        "name": "encoder", "kind": "dense", "output": [32], "module": "encoder", "kernel": [], "stride": [],
        "padding": [], "activation": "ReLU", "parameters": 25120, "multiplications": 25088, "inputs": ["input"],
    }  # fmt: skip
    assert len(table) == len(list(table)) == 5


def test_the_command(hourglass, few):
    code, out, err = hourglass("show", "conv", "--set", "channels=(4, 2)", "--size", "20x30")
    assert (code, err) == (0, "")
    assert "The code has 80 of 600 numbers, 13%" in out
    code, out, err = hourglass("show", "conv", "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert json.loads(out)["code"] == 128
    hg.save(hg.DenseAutoencoder(code_size=3, n_steps=1).fit(few.train.images), "conv")
    assert "code of 3 numbers" in hourglass("show", "./conv")[1]
    assert "16-8-8 feature maps" in hourglass("show", "conv")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "bn-manul"), "did you mean bn-manual"),
        (("show",), "NAME|FOLDER"),
        (("show", "conv", "--size", "20"), "--size '20' is not HEIGHTxWIDTH"),
        (("show", "photo", "--set", "channels=3"), "only an experiment's parameters"),
        (("show", "conv", "--set", "colours=3"), "conv has no parameter 'colours'"),
        (("show", "conv", "--figure", "conv.gif"), "give it the suffix .png, .svg or .pdf"),
    ],
)
def test_misuse_is_one_line(hourglass, words, said):
    code, out, err = hourglass(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not list(Path().iterdir())


def test_figures_are_written_and_not_overwritten(hourglass):
    for name in ("conv.png", "conv.svg", "conv.pdf"):
        code, out, _ = hourglass("show", "conv", "--figure", name)
        assert (code, out.splitlines()[-1]) == (0, f"figure: {name}")
        first = Path(name).read_bytes()
        assert hourglass("show", "conv", "--figure", name)[0] == 1
        assert hourglass("show", "conv", "--figure", name, "--overwrite")[0] == 0
        assert Path(name).read_bytes() == first
    assert hourglass("show", "dense", "--figure", "new/folder/dense.png")[0] == 0
    xml.etree.ElementTree.parse("conv.svg")  # noqa: S314  # our own file


@pytest.mark.parametrize("name", ["dense", "conv", "denoise", "bn-none", "bn-manual", "photo", "digits"])
def test_no_two_words_of_a_figure_overlap(name):
    figure = hg.layers_of(name).figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    [axes] = figure.axes
    places = [(text.get_text(), text.get_window_extent(renderer)) for text in axes.texts if text.get_text()]
    places.append(("legend", axes.get_legend().get_window_extent(renderer)))
    for i, (words, box) in enumerate(places):
        assert figure.bbox.containsx(box.x0 - 1), words
        assert figure.bbox.containsx(box.x1 + 1), words
        for other, second in places[:i]:
            assert not box.overlaps(second), f"{words} and {other}"


@pytest.mark.parametrize(("name", "arrows"), [("conv", 0), ("digits", 3), ("photo", 9)])
def test_boxes_are_to_scale_and_skips_are_arrows(name, arrows):
    table = hg.layers_of(name)
    [axes] = table.figure().axes
    fronts = axes.patches[::3]
    sizes = [face.get_path().get_extents() for face in fronts]
    sides = [layer.output for layer in table if layer.kernel or layer.name in ("input", "unshuffle", "join", "shuffle")
             or layer.name.startswith("upsample") or layer.kind.startswith("concatenate")]  # fmt: skip
    assert len(sides) == len(fronts)
    for (first, one), (second, other) in pairwise(zip(sides, sizes, strict=True)):
        assert one.height / other.height == pytest.approx(first[0] / second[0])
        if min(one.width, other.width) > 0.021:
            assert one.width / other.width == pytest.approx(first[2] / second[2])
    assert sum(hasattr(text, "arrow_patch") and text.arrow_patch is not None for text in axes.texts) == arrows
