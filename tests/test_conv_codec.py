"""The convolutional codec: any size, any way to halve and to double, a code of its own width."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hourglass.nn import ConvCodec, StridedConv2d
from hourglass.nn.shapes import to_height_width_channel


def test_pooling_before_relu_is_pooling_after_it():
    codec = ConvCodec((9, 11, 2), (4,))
    x = torch.randn(3, 2, 9, 11)
    expected = codec.pool(F.relu(codec.encoder[0](x)))
    assert torch.equal(codec.encode(x), to_height_width_channel(expected))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.sampled_from(["nearest", "transposed", "transposed-2x2"]),
    st.sampled_from(["max-pool", "strided"]),
    st.sampled_from([None, 1, 3]),
)
def test_conv_codec_returns_any_image_shape(shape, channels, upsample, downsample, code_channels):
    codec = ConvCodec(shape, tuple(channels), upsample, downsample=downsample, code_channels=code_channels)
    images = torch.randn(2, shape[2], shape[0], shape[1])
    codes = codec.encode(images)
    assert codes.shape == (2, codec.code_size)
    assert codes.min() >= 0
    assert codec.decode(codes).shape == images.shape


@pytest.mark.parametrize(
    ("channels", "code_shape", "parameters"), [((16, 8, 8), (4, 4, 8), 4385), ((32, 32, 16), (4, 4, 16), 30689)]
)
def test_the_lessons_conv_codecs(channels, code_shape, parameters):
    codec = ConvCodec((28, 28, 1), channels)
    assert codec.code_shape == code_shape
    assert sum(p.numel() for p in codec.parameters()) == parameters


def test_a_code_has_channels_of_its_own():
    codec = ConvCodec((28, 28, 1), (8, 16, 32), "transposed-2x2", downsample="strided", code_channels=8)
    assert codec.code_shape == (4, 4, 8)
    assert [conv.stride for conv in codec.encoder] == [(2, 2)] * 3
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(codec(images), codec.decode(codec.encode(images)))
    assert {"to code", "from code"} < set(codec.rectified())


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 8), (28, 28)])
def test_a_strided_convolution_is_every_second_pixel_of_an_unstrided_one(size):
    layer, x = StridedConv2d(2, 3), torch.randn(2, 2, *size)
    expected = F.conv2d(x, layer.weight, layer.bias, padding=1)[:, :, ::2, ::2]
    torch.testing.assert_close(layer(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).shape == expected.shape


@pytest.mark.parametrize("upsample", ["nearest", "transposed", "transposed-2x2"])
@pytest.mark.parametrize("options", [{}, {"downsample": "strided"}, {"code_channels": 2}, {"skip": True}])
def test_no_pixel_beyond_the_radius_has_a_part(upsample, options):
    codec = ConvCodec((64, 64, 1), (2, 3), upsample, **options).double()
    for weights in codec.parameters():  # no ReLU and no maximum hides a path
        torch.nn.init.constant_(weights, 0.1)
    stride, radius = codec.halo
    assert stride == 4
    images = torch.zeros(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    reached = 0
    for place in range(32, 36):
        ramp = images + 1e-3 * torch.arange(64.0, dtype=torch.float64) * torch.tensor([1, -1]).view(2, 1, 1, 1)
        for i in range(2):  # the maximum takes the last pixel of a rising ramp, and the first of a falling one
            [gradient] = torch.autograd.grad(codec(ramp[i : i + 1])[0, 0, 32, place], images, retain_graph=True)
            columns = gradient[0, 0].abs().sum(0).nonzero().flatten()
            reached = max(reached, place - int(columns[0]), int(columns[-1]) - place)
    assert reached == radius
