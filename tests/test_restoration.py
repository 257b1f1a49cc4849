"""The network that restores photographs: any size, told the level of the noise or not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hourglass.errors import OptionError
from hourglass.nn import RestorationNet


def small(channels=1, seed=0):
    """A small network whose weights are drawn, also where it begins with zeros."""
    net = RestorationNet(channels, (4, 6, 8), (1, 2, 1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return net.eval()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 40), st.integers(1, 40))
def test_images_of_any_size_keep_it(n, channels, height, width):
    images = torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(height))
    with torch.no_grad():
        restored = small(channels)(images)
    assert restored.shape == images.shape
    assert torch.isfinite(restored).all()


def test_an_untrained_network_returns_its_input():
    images = torch.rand(2, 3, 21, 34)
    with torch.no_grad():
        assert torch.equal(RestorationNet()(images, torch.tensor([0.1, -1.0])), images)


def test_without_a_level_it_is_unknown_and_a_told_one_counts_also_zero():
    net, images = small(), torch.rand(3, 1, 16, 24)
    with torch.no_grad():
        blind = net(images)
        mixed = net(images, torch.tensor([-1.0, 0.0, 0.2]))
        told = [net(images[i : i + 1], torch.tensor([level])) for i, level in enumerate([-0.3, 0.0, 0.2])]
    torch.testing.assert_close(mixed, torch.cat(told))
    torch.testing.assert_close(mixed[0], blind[0])
    assert (mixed[1] - blind[1]).abs().max() > 1e-3
    assert (mixed[2] - net(images, torch.tensor([-1.0, 0.0, 0.1]))[2]).abs().max() > 1e-3


def test_sides_that_are_no_multiple_of_eight_are_extended_by_reflection():
    net, images = small(), torch.rand(1, 1, 13, 22)
    rows = [*range(13), 11, 10, 9]
    columns = [*range(22), 20, 19]
    with torch.no_grad():
        whole = net(images[:, :, rows][..., columns])
        torch.testing.assert_close(net(images), whole[..., :13, :22])


def test_a_shift_by_eight_pixels_shifts_the_result():
    net, images = small(), torch.rand(1, 1, 160, 160)
    with torch.no_grad():
        whole, part = net(images), net(images[..., 8:, 16:])
    torch.testing.assert_close(part[..., 64:-64, 64:-64], whole[..., 72:-64, 80:-64], rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_images_and_every_weight():
    net, images = small(), torch.rand(1, 1, 16, 16, requires_grad=True)
    net.double()
    given_images = images.detach().double().requires_grad_()
    net(given_images, torch.tensor([0.1])).square().sum().backward()
    assert given_images.grad.abs().min() > 0
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    direction = torch.rand(given_images.shape, dtype=torch.float64)
    step = 1e-6
    with torch.no_grad():
        ends = [net(given_images + s * step * direction, torch.tensor([0.1])).square().sum() for s in (1, -1)]
    slope = (given_images.grad * direction).sum()
    torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), slope, rtol=1e-5, atol=0)


@pytest.mark.parametrize("wrong", [{"widths": (4, 4)}, {"n_blocks": (1, 0, 1)}, {"widths": (4, 4, 4, 4)}])
def test_what_is_no_network_is_refused(wrong):
    with pytest.raises(OptionError, match="has to be three positive numbers"):
        RestorationNet(1, **wrong)
