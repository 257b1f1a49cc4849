"""Every faster form gives what the plain one gives: outputs, gradients, statistics, weights after training."""

import copy
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import hourglass as hg
from hourglass import nn
from hourglass.runtime import tricks
from hourglass.runtime.threads import on_threads


def maps(*shape, dtype=torch.float32):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return x.to(memory_format=torch.channels_last) if len(shape) == 4 else x


def results(module, x, **options):
    """Output, gradients and buffers of a copy of a module."""
    module, x = copy.deepcopy(module), x.clone().requires_grad_()
    output = module(x, **options)
    output.backward(torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype))
    return [output.detach(), x.grad, *(p.grad for p in module.parameters()), *module.buffers()]


def assert_equal(found, expected, tolerance=1e-5):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * max(b.abs().max().item(), 1e-3)


CASES = [
    ("upsample-phases", lambda: nn.UpsampleConv2d(17, 6), (3, 17, 7, 4), {"size": (14, 8)}),
    ("upsample-phases", lambda: nn.UpsampleConv2d(16, 4), (1, 16, 1, 1), {"size": (2, 2)}),
    *(("few-outputs", lambda c=c: nn.SameConv2d(7, c), (3, 7, 9, 5), {}) for c in (1, 2, 3)),
    ("few-outputs", lambda: nn.SameConv2d(7, 1), (2, 7, 1, 6), {}),
    *(("one-pixel", lambda s=s: nn.SameConv2d(7, 9, stride=s), (3, 7, 1, 1), {}) for s in (1, 2)),
    ("one-pixel", lambda: nn.SameConv2d(7, 9, bias=False), (3, 7, 1, 1), {}),
]


@pytest.mark.parametrize(("name", "make", "shape", "options"), CASES)
def test_a_fast_module_equals_the_plain_one(name, make, shape, options, monkeypatch):
    module = make()
    # The plain form must not be what is compared with itself.
    used = []
    for function in ("upsample_conv2d", "few_outputs_conv2d", "one_pixel_conv2d"):
        fast = getattr(nn.fast, function)
        monkeypatch.setattr(nn.fast, function, lambda *a, fast=fast, **k: used.append(fast) or fast(*a, **k))
    found = results(module, maps(*shape) * 2 + 1, **options)
    assert used
    used.clear()
    with tricks.without(name):
        expected = results(module, maps(*shape) * 2 + 1, **options)
    assert not used
    assert_equal(found, expected, 5e-5)


def test_maxima_without_a_gradient_are_the_same():
    x = maps(20, 4, 8, 6)
    with torch.no_grad():
        found = nn.SamePool2d()(x)
        with tricks.without("pool-pairs"):
            assert torch.equal(found, nn.SamePool2d()(x))


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("size", [(28, 28), (6, 10), (4, 2)])
def test_the_last_convolutions_by_phases_are_the_same(colours, size, monkeypatch):
    codec = nn.ConvCodec((*size, colours), (5, 3)).to(memory_format=torch.channels_last)
    for parameter in codec.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    used = []
    fast = nn.fast.upsample_output_conv2d
    monkeypatch.setattr(nn.fast, "upsample_output_conv2d", lambda *a: used.append(1) or fast(*a))
    x = maps(3, colours, *size)
    with torch.inference_mode():
        found = codec(x)
        assert used
        used.clear()
        with tricks.without("output-phases"):
            expected = codec(x)
    assert not used
    assert_equal([found], [expected])


@pytest.mark.parametrize("shape", [(1, 700, 641, 1), (2, 803, 600, 1), (5, 230, 230, 1)])
def test_large_images_in_blocks_equal_the_whole(few, shape):
    ae = hg.ConvAutoencoder(channels=(4, 4), n_steps=3, random_state=0).fit(few.train.images)
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    with tricks.without("pieces"):
        whole = ae.reconstruct(image)
    np.testing.assert_allclose(ae.reconstruct(image), whole, atol=2e-6)


def test_threads_keep_order_settings_and_errors():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen = on_threads(lambda i: (i, torch.get_num_threads(), on_threads(lambda j: j, [i])), range(20))
        assert seen == [(i, 1, [i]) for i in range(20)]
        assert torch.get_num_threads() == 3
        done = []

        def failing(i):
            if i == 2:
                raise ValueError("third")
            time.sleep(0.01)
            done.append(i)

        with pytest.raises(ValueError, match="third"):
            on_threads(failing, range(1000))
        assert len(done) < 100
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_what_is_not_finite_is_refused_in_any_piece(few):
    ae = hg.DenseAutoencoder(n_steps=1, random_state=0).fit(few.train.images)
    images = np.tile(few.train.images, (4, 1, 1, 1))
    images[-1, 3, 3] = np.nan
    for method in (ae.transform, ae.reconstruct):
        with pytest.raises(ValueError, match="Input X contains NaN"):
            method(images)
    ae.pixel_range_ = 0, 3e38
    huge = np.full((3, 784), 3e38, np.float32)  # whose sum is infinite, and they are not
    assert ae.reconstruct(huge).shape == (3, 784)


@pytest.mark.parametrize("make", [hg.DenseAutoencoder, hg.ConvAutoencoder, hg.ConvClassifier])
def test_training_with_every_trick_follows_training_without(make, few):
    def train():
        # Few steps: normalised layers amplify each one's rounding about tenfold.
        estimator = make(loss="bce", n_steps=4, random_state=0, learning_rate=0.003)
        return estimator.fit(few.train.images, few.train.labels)

    fast = train()
    with tricks.without():
        plain = train()
    np.testing.assert_allclose(fast.history_.loss, plain.history_.loss, rtol=2e-3)


def test_tricks_are_switched_by_name():
    with tricks.without("one-pixel"):
        assert not tricks.uses("one-pixel")
        assert tricks.uses("few-outputs")
        with tricks.without():
            assert not any(tricks.uses(name) for name in tricks.TRICKS)
        assert tricks.uses("few-outputs")
    assert tricks.uses("one-pixel")
    with pytest.raises(ValueError, match="trick 'magic' is unknown"), tricks.without("magic"):
        pass
    script = "from hourglass.runtime import tricks; print(*[tricks.uses(name) for name in tricks.TRICKS])"
    for value, said in (
        ("all", {"False"}),
        ("few-outputs", {"True", "False"}),
        ("pieces", {"True", "False"}),
        ("", {"True"}),
    ):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"HOURGLASS_WITHOUT": value},
            capture_output=True,
            text=True,
            check=True,
        )
        assert set(done.stdout.split()) == said
