"""Layers and codecs against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate2d

from hourglass.nn import (
    ConvCodec,
    ConvNet,
    Dense,
    DenseCodec,
    SameConv2d,
    SamePool2d,
    StridedConv2d,
    TransposedConv2d,
    UpsampleConv2d,
    same_padding,
)
from hourglass.nn.shapes import from_height_width_channel, to_height_width_channel
from hourglass.runtime import tricks
from hourglass.runtime.hardware import has_bfloat16


@given(st.integers(1, 100), st.sampled_from([1, 3, 5]), st.integers(1, 4))
def test_same_padding_gives_ceil_of_size_over_stride(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert 0 <= after - before <= 1
    padded = size + before + after
    if padded >= kernel:
        assert (padded - kernel) // stride + 1 == -(-size // stride)


@pytest.mark.parametrize(
    ("size", "expected"), [(28, (0, 1)), (14, (0, 1)), (7, (1, 1)), (4, (0, 1)), (2, (0, 1)), (1, (1, 1))]
)
def test_same_padding_of_the_classifier(size, expected):
    assert same_padding(size, 3, 2) == expected


@pytest.mark.parametrize("size", [4, 5, 7, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_conv_is_a_correlation_at_every_stride_th_pixel_after_padding(size, stride):
    conv = SameConv2d(1, 1, stride=stride).double()
    image = torch.randn(1, 1, size, size, dtype=torch.float64)
    before, after = same_padding(size, 3, stride)
    padded = np.pad(image[0, 0].numpy(), (before, after))
    expected = correlate2d(padded, conv.weight.detach()[0, 0].numpy(), mode="valid")[::stride, ::stride]
    np.testing.assert_allclose(conv(image).detach()[0, 0] - conv.bias.item(), expected, atol=1e-12)


@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="the processor has no bfloat16")
def test_gradients_of_one_pixel_at_stride_2_are_written_in_bfloat16():
    with tricks.without("one-pixel"):
        for _ in range(5):
            layer = SameConv2d(34, 36, stride=2).to(memory_format=torch.channels_last)
            x = torch.randn(100, 34, 1, 1).to(memory_format=torch.channels_last)
            used = [torch.full((size,), torch.nan) for size in (1_000, 10_000, 100_000, 1_000_000)]
            del used  # so that memory which is not written holds NaN
            with torch.autocast("cpu", torch.bfloat16):
                y = layer(x)
            y.float().square().mean().backward()
            assert torch.isfinite(layer.weight.grad).all()


def test_pool_keeps_the_odd_row():
    pooled = SamePool2d()(torch.arange(49.0).view(1, 1, 7, 7))
    assert pooled.shape == (1, 1, 4, 4)
    assert pooled[0, 0, 3, 3] == 48
    assert pooled[0, 0, 0, 3] == 13


@pytest.mark.parametrize(("small", "large"), [(4, 7), (7, 14), (14, 28), (3, 5)])
def test_upsampling_takes_the_floor_of_the_source_index(small, large):
    layer = UpsampleConv2d(1, 1)
    with torch.no_grad():
        layer.conv.weight.zero_()[0, 0, 1, 1] = 1
    image = torch.arange(float(small * small)).view(1, 1, small, small)
    index = torch.arange(large) * small // large
    assert torch.equal(layer(image, (large, large))[0, 0], image[0, 0][index][:, index])


@pytest.mark.parametrize("size", [1, 2, 7, 14, 15])
def test_transposed_convolution_reaches_the_stated_size(size):
    maps = torch.randn(1, 2, -(-size // 2), -(-size // 2))
    assert TransposedConv2d(2, 3)(maps, (size, size)).shape[2:] == (size, size)


@pytest.mark.parametrize(("layer", "fans"), [(Dense(300, 200), 500), (SameConv2d(30, 50), 9 * 80)])
def test_glorot_uniform(layer, fans):
    bound = np.sqrt(6 / fans)
    assert layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.03)
    assert not layer.bias.any()


def test_truncated_normal_is_cut_at_two_deviations():
    net = ConvNet((28, 28, 1), 10, norm="batch-manual", kernel_init="truncated-normal")
    net.reset_parameters(torch.Generator().manual_seed(0))
    weights = torch.cat([conv.weight.detach().flatten() for conv in net.convs])
    assert 0.0999 < weights.abs().max() <= 0.1
    # The normal's deviation, times that of the standard one cut at two.
    assert weights.std().item() == pytest.approx(0.05 * 0.8796, rel=0.01)
    assert net.hidden.weight.abs().max() > 0.1


def test_flattening_is_in_height_width_channel_order():
    x = torch.arange(24.0).view(1, 2, 3, 4)
    flat = to_height_width_channel(x)
    assert torch.equal(flat[0, :4], torch.tensor([0.0, 12, 1, 13]))
    assert torch.equal(from_height_width_channel(flat, (3, 4, 2)), x)


def test_dense_codec_has_the_lessons_size():
    codec = DenseCodec((28, 28, 1), 32)
    assert sum(p.numel() for p in codec.parameters()) == 784 * 32 + 32 + 32 * 784 + 784
    assert codec(torch.rand(5, 1, 28, 28)).shape == (5, 1, 28, 28)


def test_convnet_has_the_lessons_layers():
    net = ConvNet((28, 28, 1), 10, norm="batch")
    assert [conv.out_channels for conv in net.convs] == [4 * d for d in range(1, 20)]
    assert [conv.stride[0] for conv in net.convs] == [2 if d % 3 == 0 else 1 for d in range(1, 20)]
    assert all(conv.bias is None for conv in net.convs)
    assert net.hidden.bias is None
    assert net.hidden.in_features == 76
    assert net.output.bias is not None
    assert ConvNet((28, 28, 1), 10).convs[0].bias is not None


def test_stored_variance_is_tensorflows():
    layer, manual = ConvNet((28, 28, 1), 10, norm="batch"), ConvNet((28, 28, 1), 10, norm="batch-manual")
    assert layer.norms[0].stored_variance == "bessel"
    assert layer.hidden_norm.stored_variance == "biased"
    assert {norm.stored_variance for norm in [*manual.norms, manual.hidden_norm]} == {"biased"}


@pytest.mark.parametrize(
    "build", [lambda: ConvCodec((8, 8, 1), (4, 2)), lambda: ConvNet((8, 8, 1), 3, depth=4, norm="batch")]
)
def test_meta_construction_and_reset_leave_the_global_generator_alone(build):
    state = torch.get_rng_state()
    with torch.device("meta"):
        network = build()
    network.to_empty(device="cpu")
    network.reset_parameters(torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)
    again = build()
    again.reset_parameters(torch.Generator().manual_seed(1))
    for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_output_bias_starts_at_the_mean():
    mean = torch.rand(6, 5, 2)
    dense, conv = DenseCodec((6, 5, 2), 3), ConvCodec((6, 5, 2), (4,))
    dense.set_output_bias(mean)
    conv.set_output_bias(mean)
    nothing = torch.zeros(1, dense.code_size)
    assert torch.equal(dense.decode(nothing)[0].permute(1, 2, 0), mean)
    assert torch.allclose(conv.output_bias, mean.mean((0, 1)))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: ConvCodec((8, 8, 1), (4,), "bilinear"), "nearest, transposed"),
        (lambda: ConvCodec((8, 8, 1), ()), "at least one stage"),
        (lambda: ConvNet((8, 8, 1), 2, norm="batchnorm"), "none, batch, batch-manual, layer"),
        (lambda: ConvNet((8, 8, 1), 2, kernel_init="ones"), "glorot, he, truncated-normal"),
    ],
)
def test_unknown_choices_name_the_known_ones(build, named):
    with pytest.raises(ValueError, match=named):
        build()


NETWORKS = {
    "dense": (lambda: DenseCodec((6, 5, 2), 3), "encode"),
    "dense, whole": (lambda: DenseCodec((6, 5, 2), 3), "forward"),
    "conv": (lambda: ConvCodec((6, 5, 2), (4,)), "encode"),
    "classifier": (lambda: ConvNet((6, 5, 2), 3, depth=3), "forward"),
}


@pytest.mark.parametrize(
    "shape", [(3, 2, 5, 6), (3, 6, 5, 2), (3, 5, 6, 2), (3, 2, 12, 5), (3, 2, 10, 3), (3, 60), (2, 6, 5), (3, 1, 6, 5)]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_images_of_another_shape_are_refused(name, shape):
    """Also of as many pixels, which would otherwise be read in another order."""
    build, method = NETWORKS[name]
    with pytest.raises(ValueError, match=r"images have shape .*; expected \(n, 2, 6, 5\)") as raised:
        getattr(build(), method)(torch.zeros(shape))
    assert ("channels come before height and width" in str(raised.value)) == (shape == (3, 6, 5, 2))


@pytest.mark.parametrize("shape", [(2, 12), (1, 7), (2, 5), (6,), (1, 2, 3)])
@pytest.mark.parametrize("build", [lambda: DenseCodec((4, 4, 1), 6), lambda: ConvCodec((4, 6, 1), (1,))])
def test_codes_of_another_shape_are_refused(build, shape):
    """Twice as many numbers would be read as twice as many codes."""
    codec = build()
    assert codec.decode(torch.zeros(2, codec.code_size)).shape[0] == 2
    with pytest.raises(ValueError, match=r"codes have shape .*; expected \(n, 6\)"):
        codec.decode(torch.zeros(shape))


LAYERS = {
    "conv": (lambda: SameConv2d(2, 3), ()),
    "strided": (lambda: SameConv2d(2, 3, stride=2), ()),
    "few": (lambda: SameConv2d(2, 1), ()),
    "pool": (SamePool2d, ()),
    "upsample": (lambda: UpsampleConv2d(2, 3), ((4, 4),)),
    "transposed": (lambda: TransposedConv2d(2, 3), ((4, 4),)),
    "patches": (lambda: TransposedConv2d(2, 3, 2), ((4, 4),)),
    "halving": (lambda: StridedConv2d(2, 3), ()),
}


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 2), (1, 2, 2, 2, 2), (1, 3, 2, 2)])
@pytest.mark.parametrize("name", LAYERS)
def test_maps_of_another_shape_are_refused(name, shape):
    build, size = LAYERS[name]
    if name == "pool" and len(shape) == 4:
        return  # it has no channels of its own
    with pytest.raises(ValueError, match=r"x has shape .*; expected \(n, \w+, height, width\)"):
        build()(torch.zeros(shape), *size)


@pytest.mark.parametrize("size", [(5, 6), (6, 5), (8, 8), (2, 2), (3, 3), (0, 0), (7, 6)])
@pytest.mark.parametrize("name", ["upsample", "transposed", "patches"])
def test_sizes_that_are_not_about_the_double_are_refused(name, size):
    layer, x = LAYERS[name][0](), torch.zeros(1, 2, 3, 3)
    if all(length in (5, 6) for length in size):
        assert layer(x, size).shape == (1, 3, *size)
    else:
        with pytest.raises(ValueError, match=r"does not fit x of shape \(1, 2, 3, 3\)"):
            layer(x, size)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        *((lambda k=k: SameConv2d(2, 3, k), f"kernel_size={k} has no middle") for k in (2, 4)),
        *((lambda k=k: SameConv2d(2, 3, k), "kernel_size=.*; expected a whole number") for k in (0, -1, 3.0, (3, 3))),
        (lambda: SameConv2d(2, 3, stride=0), "stride=0; expected a whole number"),
        (lambda: SameConv2d(0, 3), "in_channels=0"),
        (lambda: DenseCodec((8, 8, 1), 0), "code_size=0"),
        (lambda: DenseCodec((8, 0, 1), 3), "width=0"),
        (lambda: ConvCodec((8, 8, 0), (3,)), "channels=0"),
        (lambda: ConvCodec((8, 8, 1), (3,), code_channels=0), "code_channels=0"),
        (lambda: ConvCodec((8, 8, 1), (3,), downsample="mean"), "choose one of max-pool, strided"),
        (lambda: ConvCodec((8, 8, 1), (3,), downsample="strided", skip=True), "skip joins maps that strided"),
        (lambda: TransposedConv2d(2, 3, 4), "kernel_size=4; a transposed convolution that doubles maps takes 2 or 3"),
        (lambda: ConvCodec((8, 8, 1), (3, 0)), "out_channels=0"),
        (lambda: ConvCodec((8, 8, 1), (3,), norm="batch", norm_momentum=2), "momentum=2"),
        *((lambda o=o: ConvNet((8, 8, 1), 3, **o), next(iter(o))) for o in (
            {"depth": 0}, {"width": 0}, {"hidden": 0}, {"depth": 2.5}, {"stored_variance": "none", "norm": "batch"},
        )),
        (lambda: ConvNet((8, 8, 1), 0), "classes=0"),
        (lambda: ConvNet((8, 8), 3), "not enough values"),
        *((lambda n=n: ConvNet((8, 8, 1), 3, depth=2, norm=n, stored_variance="biased"),
           f"norm='{n}' has no moving statistics, so that stored_variance='biased' would change nothing")
          for n in ("none", "group", "layer", "instance")),
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(build, said):
    with pytest.raises(ValueError, match=said):
        build()


@pytest.mark.parametrize("variance", ["biased", "bessel"])
@pytest.mark.parametrize("norm", ["batch", "batch-manual", "ghost", "renorm"])
def test_a_stored_variance_that_is_chosen_holds_everywhere(norm, variance):
    net = ConvNet((8, 8, 1), 3, depth=3, norm=norm, stored_variance=variance, norm_momentum=None)
    norms = [*net.norms, net.hidden_norm]
    assert {layer.stored_variance for layer in norms} == {variance}
    assert {layer.momentum for layer in norms} == {None}
    usual = ConvNet((8, 8, 1), 3, depth=3, norm=norm)
    expected = "bessel" if norm == "batch" else "biased"
    assert [layer.stored_variance for layer in (*usual.norms, usual.hidden_norm)] == [expected] * 3 + ["biased"]


@pytest.mark.parametrize("build", [ConvNet, ConvCodec, DenseCodec])
def test_sizes_may_be_numpys(build):
    shape = tuple(np.array([4, 4, 1]))
    network = build(shape, (2,)) if build is ConvCodec else build(shape, np.int64(3))
    assert len(network(torch.zeros(2, 1, 4, 4))) == 2
