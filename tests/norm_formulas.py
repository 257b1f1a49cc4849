"""Normalisations by their formulas, and small batches to compare with them; for several tests."""

import torch

from hourglass.nn import NORMS

MAPS, ROWS, CHANNELS = (6, 4, 3, 5), (6, 4), 4
NAMES = [name for name in NORMS if name != "none"]
BY_BATCH = ["batch", "batch-manual"]  # the formula of nn.BatchNorm2d
MOVING = [*BY_BATCH, "ghost", "renorm"]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
EXTRA = {"group": {"groups": 2}, "ghost": {"ghost_size": 4}, "renorm": {"ramp": (0, 1)}}


def make(name, **options):
    return NORMS[name](CHANNELS, **EXTRA.get(name, {}), **options)


def batch(shape=MAPS, dtype=torch.float64, layout="contiguous", seed=0):
    x = 2 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.5
    x = x.to(dtype)
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    if layout == "slice":
        x = torch.cat([x, x], dim=2)[:, :, : shape[2]]
    return x


def randomised(norm):
    """Any scale, shift and moving statistics but those that a new layer has."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
        if getattr(norm, "running_mean", None) is not None:
            norm.running_mean.copy_(torch.rand(CHANNELS, generator=generator) - 0.5)
            norm.running_var.copy_(torch.rand(CHANNELS, generator=generator) + 0.7)
            norm.num_batches_tracked.fill_(2)
    return norm


def tolerance(dtype):
    return 30 * torch.finfo(dtype).eps


def close(found, expected, dtype=torch.float64, times=1):
    expected = expected.double()
    scale = expected.abs().max().item() if expected.numel() else 0
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=times * tolerance(dtype) * max(scale, 1))


def per_channel(values, x):
    return values.view([-1 if axis == 1 else 1 for axis in range(x.dim())])


def formula(name, norm, x, training):
    """What a normalisation is to give, and its moving statistics afterwards, of plain operations in float64."""
    weight, bias = (None if p is None else p.detach().double() for p in (norm.weight, norm.bias))
    eps, axes = norm.eps, [axis for axis in range(x.dim()) if axis != 1]
    affine = lambda y: (  # noqa: E731
        y * (1 if weight is None else per_channel(weight, y)) + (0 if bias is None else per_channel(bias, y))
    )
    if name not in MOVING:
        parts = x.reshape(len(x), norm.num_groups, -1)
        centred = parts - parts.mean(2, keepdim=True)
        return affine((centred / (centred.square().mean(2, keepdim=True) + eps).sqrt()).reshape(x.shape)), {}
    state = {k: v.double() for k, v in norm.state_dict().items() if k in norm._buffers}
    if not training and state:
        normalised = (x - per_channel(state["running_mean"], x)) / per_channel(state["running_var"] + eps, x).sqrt()
        return affine(normalised), state
    outputs, count = [], state.get("num_batches_tracked", torch.tensor(0.0))
    for part in x.tensor_split(-(-len(x) // 4)) if name == "ghost" else [x]:
        mean, variance = part.mean(axes), part.var(axes, unbiased=False)
        normalised = (part - per_channel(mean, part)) / per_channel(variance + eps, part).sqrt()
        if name == "renorm":  # fully open
            moving = (state["running_var"] + eps).sqrt()
            r = ((variance + eps).sqrt() / moving).clamp(1 / 3, 3).detach()
            d = ((mean - state["running_mean"]) / moving).clamp(-5, 5).detach()
            normalised = normalised * per_channel(r, x) + per_channel(d, x)
        outputs.append(normalised)
        if state:
            count = count + 1
            share = 1 / count if norm.momentum is None else norm.momentum
            stored = part.var(axes, unbiased=norm.stored_variance == "bessel").detach()
            state["running_mean"] = (1 - share) * state["running_mean"] + share * mean.detach()
            if name == "renorm":
                stored = (stored + eps).sqrt()
                state["running_var"] = ((1 - share) * (state["running_var"] + eps).sqrt() + share * stored) ** 2 - eps
            else:
                state["running_var"] = (1 - share) * state["running_var"] + share * stored
            state["num_batches_tracked"] = count
    return affine(torch.cat(outputs)), state
