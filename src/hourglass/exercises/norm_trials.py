"""Checks of the exercises on batch normalisation: moments, both passes, inference, folding."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from hourglass.exercises.attempt import Attempt, Numbers, Said, compare
from hourglass.nn import ManualBatchNorm

# The second has as many pixels in a row as channels, so that numbers of channels meet the width by mistake.
_SHAPES = [(2, 3, 2, 2), (4, 3, 5, 3), (3, 3, 1, 4)]
_AXES = (0, 2, 3)
_WHOLE = Said(
    "It is taken over the whole batch, so that all feature maps share it; each feature map needs its own.",
    "它是对整个批量求的，所有特征图共用一个；每个特征图应有自己的。",
)
_UNBIASED = Said(
    "The variance is divided by the number of values less 1 (ddof=1); the biased one is divided by the number.",
    "方差除以了数值的个数减 1（ddof=1）；这里要用有偏方差，即除以数值的个数。",
)
_OUTSIDE = Said(
    "ε is added to the deviation, outside the root; add it to the variance, under the root.",
    "ε 加在了根号外面的标准差上；应加到根号里面的方差上。",
)
_NO_ROOT = Said(
    "The root is missing: divide by √(variance + ε), not by the variance.",
    "缺少根号：应除以 √(方差 + ε)，而不是除以方差。",
)
_WIDTH = Said(
    "γ and β meet the width in place of the channels: NumPy puts (c,) beside the last axis. Reshape them to "
    "(1, c, 1, 1), as by gamma[:, None, None].",
    "γ 和 β 与宽对齐了，而不是与通道对齐：NumPy 把 (c,) 与最后一个轴对齐。"
    "请把形状改为 (1, c, 1, 1)，例如 gamma[:, None, None]。",
)


def _batch(shape: tuple[int, ...], seed: int = 0) -> Numbers:
    """Feature maps with means and deviations of their own."""
    generator = np.random.default_rng(seed)
    means, deviations = generator.normal(0, 3, shape[1]), generator.uniform(0.05, 3, shape[1])
    return generator.normal(size=shape) * _maps(deviations) + _maps(means)


def _maps(values: Numbers) -> Numbers:
    """Numbers of the channels, in the shape that meets feature maps."""
    return values[:, None, None]


def _affine(channels: int, seed: int = 0) -> tuple[Numbers, Numbers]:
    generator = np.random.default_rng(seed + 100)
    return generator.uniform(0.5, 2, channels), generator.normal(0, 1, channels)


def check_moments(attempt: Attempt) -> None:
    """Mean and biased variance of each feature map, against PyTorch's."""
    for shape in _SHAPES:
        x = _batch(shape)
        variance, mean = (each.numpy() for each in torch.var_mean(torch.from_numpy(x), _AXES, correction=0))
        found_mean, found_variance = attempt.arrays(attempt.call(x), mean=(shape[1],), variance=(shape[1],))
        exchanged = Said(
            "Mean and variance are exchanged: return (mean, variance).", "均值和方差颠倒了：请返回 (mean, variance)。"
        )
        compare("mean", found_mean, mean, [(variance, exchanged), (x.mean(), _WHOLE)])
        deviation = Said("It is the deviation, the root of the variance.", "这是标准差，即方差的平方根。")
        squares = Said(
            "It is the mean of x²; subtract the mean before squaring.", "这是 x² 的平均值；平方之前要先减去均值。"
        )
        of_means = Said(
            "It is the variance of the means of the images, or the mean of their variances; take all values of a "
            "channel together.",
            "这是各图像均值的方差，或各图像方差的平均值；应把一个通道的所有数值放在一起计算。",
        )
        compare(
            "variance",
            found_variance,
            variance,
            [
                (x.var(_AXES, ddof=1), _UNBIASED),
                (np.sqrt(variance), deviation),
                (np.square(x).mean(_AXES), squares),
                (x.var(), _WHOLE),
                (x.var((2, 3)).mean(0), of_means),
                (x.mean((2, 3)).var(0), of_means),
            ],
        )


def check_forward(attempt: Attempt) -> None:
    """Normalised maps, against PyTorch's; with a large ε, whose place shows."""
    for shape, eps in zip(_SHAPES, (1e-5, 0.1, 1e-3), strict=True):
        x, (gamma, beta) = _batch(shape, 1), _affine(shape[1])
        x_, gamma_, beta_ = (torch.from_numpy(each) for each in (x, gamma, beta))
        expected = F.batch_norm(x_, None, None, gamma_, beta_, training=True, eps=eps).numpy()
        [found] = attempt.arrays(attempt.call(x, gamma, beta, eps), y=shape)
        mean, variance = x.mean(_AXES, keepdims=True), x.var(_AXES, keepdims=True)
        scale, shift = _maps(gamma), _maps(beta)
        plain = (x - mean) / np.sqrt(variance + eps)
        images = (x - x.mean((1, 2, 3), keepdims=True)) / np.sqrt(x.var((1, 2, 3), keepdims=True) + eps)
        mistakes = [
            ((x - mean) / (np.sqrt(variance) + eps) * scale + shift, _OUTSIDE),
            ((x - mean) / (variance + eps) * scale + shift, _NO_ROOT),
            ((x - mean) / np.sqrt(x.var(_AXES, ddof=1, keepdims=True) + eps) * scale + shift, _UNBIASED),
            ((x - x.mean()) / np.sqrt(x.var() + eps) * scale + shift, _WHOLE),
            ((x - mean) / np.sqrt(variance) * scale + shift, Said("ε is missing.", "缺少 ε。")),
            (
                (x - mean) / np.sqrt(variance + 1e-5) * scale + shift,
                Said("The argument eps is not used.", "没有使用参数 eps。"),
            ),
            (plain, Said("γ and β are missing.", "缺少 γ 和 β。")),
            (plain * scale, Said("β is missing.", "缺少 β。")),
            (plain + shift, Said("γ is missing.", "缺少 γ。")),
            (
                scale * (plain + shift),
                Said("β is added before γ multiplies; multiply first.", "先加了 β 再乘 γ；应先乘 γ 再加 β。"),
            ),
            (
                images * scale + shift,
                Said(
                    "Each image is normalised by itself, which is layer normalisation; the moments are those of a "
                    "feature map over the batch.",
                    "每幅图像单独归一化了，这是层归一化；均值和方差应取自整个批量中的一个特征图。",
                ),
            ),
        ]
        if shape[3] == shape[1]:
            mistakes.append((plain * gamma + beta, _WIDTH))
        compare("y", found, expected, mistakes)


def check_inference(attempt: Attempt) -> None:
    """Normalised by moving averages, against the package's layer."""
    for count, momentum, eps in ((1, 0.1, 1e-5), (3, 0.1, 1e-3), (4, 0.01, 1e-5)):
        batches = [_batch((4, 2, 3, 3), seed) for seed in range(count)]
        x, (gamma, beta) = _batch((3, 2, 3, 4), 9), _affine(2)
        layer = ManualBatchNorm(2, eps, momentum, stored_variance="biased", dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(gamma))
            layer.bias.copy_(torch.from_numpy(beta))
            for batch in batches:
                layer(torch.from_numpy(batch))
            expected = layer.eval()(torch.from_numpy(x)).numpy()
        [found] = attempt.arrays(attempt.call(batches, x, gamma, beta, momentum, eps), y=x.shape)

        def normalised(mean: Numbers, variance: Numbers) -> Numbers:
            return (x - _maps(mean)) / np.sqrt(_maps(variance) + eps) * _maps(gamma) + _maps(beta)  # noqa: B023  # it is called in this round

        zeros, ones = np.zeros(2), np.ones(2)
        means, variances = [batch.mean(_AXES) for batch in batches], [batch.var(_AXES) for batch in batches]
        moving = _average(means, zeros, momentum), _average(variances, ones, momentum)
        compare(
            "y",
            found,
            expected,
            [
                (
                    normalised(x.mean(_AXES), x.var(_AXES)),
                    Said(
                        "x is normalised by its own moments, as in training mode. In inference use the averages.",
                        "x 用它自己的均值和方差归一化了，这是训练模式。在推断模式下要用滑动平均。",
                    ),
                ),
                (
                    normalised(_average(means, zeros, 1 - momentum), _average(variances, ones, 1 - momentum)),
                    Said(
                        "momentum is the wrong way round: here it is the share of the new batch, and 1 - momentum that "
                        "of the old average.",
                        "momentum 用反了：这里它是新批量所占的比例，旧的滑动平均所占的比例是 1 - momentum。",
                    ),
                ),
                (
                    normalised(moving[0], _average(variances, zeros, momentum)),
                    Said("The moving variance starts at 1, not at 0.", "方差的滑动平均应从 1 开始，而不是从 0 开始。"),
                ),
                (
                    normalised(means[-1], variances[-1]),
                    Said("These are the moments of the last batch alone.", "这只是最后一个批量的均值和方差。"),
                ),
                (
                    normalised(np.mean(means, 0), np.mean(variances, 0)),
                    Said(
                        "All batches are averaged alike; the moving average gives the newest the share momentum.",
                        "所有批量的权重相同；滑动平均中，最新的批量所占的比例是 momentum。",
                    ),
                ),
                (
                    normalised(moving[0], _average([b.var(_AXES, ddof=1) for b in batches], ones, momentum)),
                    _UNBIASED,
                ),
                (
                    normalised(moving[0], _average([np.sqrt(v) for v in variances], ones, momentum)),
                    Said("The deviations are averaged; average the variances.", "平均的是标准差；应对方差求平均。"),
                ),
                (normalised(zeros, ones), Said("The averages are never updated.", "滑动平均从未更新。")),
            ],
        )


def _average(values: list[Numbers], start: Numbers, momentum: float) -> Numbers:
    moving = start
    for value in values:
        moving = (1 - momentum) * moving + momentum * value
    return moving


def check_fold(attempt: Attempt) -> None:
    """Kernel and bias of one convolution, against PyTorch's."""
    for outputs, inputs, eps in ((2, 3, 1e-5), (4, 4, 0.1)):
        generator = np.random.default_rng(outputs)
        weight, bias = generator.normal(size=(outputs, inputs, 3, 3)), generator.normal(size=outputs)
        mean, variance = generator.normal(size=outputs), generator.uniform(0.2, 4, outputs)
        gamma, beta = _affine(outputs)
        given = weight, bias, mean, variance, gamma, beta
        w, b, mean_, variance_, gamma_, beta_ = (torch.from_numpy(each) for each in given)
        folded = fuse_conv_bn_weights(w, b, mean_, variance_, eps, gamma_, beta_)
        expected = [each.detach().numpy() for each in folded]
        found = attempt.arrays(attempt.call(*given, eps), weight=weight.shape, bias=bias.shape)
        scale = gamma / np.sqrt(variance + eps)
        mistakes = [
            (weight * (gamma / (np.sqrt(variance) + eps))[:, None, None, None], _OUTSIDE),
            (weight * (gamma / (variance + eps))[:, None, None, None], _NO_ROOT),
            (
                weight / np.sqrt(variance + eps)[:, None, None, None],
                Said("γ is missing.", "缺少 γ。"),
            ),
            (
                weight * (gamma / np.sqrt(variance))[:, None, None, None],
                Said("ε is missing.", "缺少 ε。"),
            ),
        ]
        if outputs == inputs:
            mistakes.append(
                (
                    weight * scale[None, :, None, None],
                    Said(
                        "The input channels are scaled, the second axis; the normalisation is after the convolution, "
                        "and belongs to its output channels, the first axis.",
                        "缩放的是输入通道，即第二个轴；归一化在卷积之后，属于输出通道，即第一个轴。",
                    ),
                )
            )
        compare("weight", found[0], expected[0], mistakes)
        compare(
            "bias",
            found[1],
            expected[1],
            [
                (bias, Said("It is unchanged; the bias is normalised too.", "偏置没有变；偏置也要归一化。")),
                (beta - mean * scale, Said("The convolution's own bias is lost.", "丢失了卷积自己的偏置。")),
                (
                    beta + bias - mean * scale,
                    Said(
                        "The convolution's bias is not scaled: it is normalised with the rest, s · (b - mean) + β.",
                        "卷积的偏置没有缩放：它要和其他部分一起归一化，即 s · (b - 均值) + β。",
                    ),
                ),
                (beta + bias * scale, Said("The mean is not subtracted.", "没有减去均值。")),
                (
                    beta + (bias + mean) * scale,
                    Said("The mean is added; subtract it.", "加上了均值；应减去均值。"),
                ),
                ((bias - mean) * scale, Said("β is missing.", "缺少 β。")),
            ],
        )
        # What counts is what comes out.
        maps = torch.from_numpy(generator.normal(size=(2, inputs, 5, 4)))
        with torch.no_grad():
            one = F.conv2d(maps, torch.from_numpy(found[0]), torch.from_numpy(found[1]))
            two = F.batch_norm(F.conv2d(maps, w, b), mean_, variance_, gamma_, beta_, eps=eps)
        compare("output", one.numpy(), two.numpy())


def check_backward(attempt: Attempt) -> None:
    """Gradients of the input, γ and β, against PyTorch's automatic ones."""
    for shape, eps in zip(_SHAPES, (1e-5, 0.1, 1e-3), strict=True):
        x, g, (gamma, _) = _batch(shape, 2), np.random.default_rng(5).normal(0.3, 1, shape), _affine(shape[1])
        x_, gamma_, beta_ = (torch.from_numpy(each).requires_grad_() for each in (x, gamma, np.zeros(shape[1])))
        y = F.batch_norm(x_, None, None, gamma_, beta_, training=True, eps=eps)
        gradients = torch.autograd.grad(y, (x_, gamma_, beta_), torch.from_numpy(g))
        dx, dgamma, dbeta = (each.numpy() for each in gradients)
        result = attempt.call(g, x, gamma, eps)
        found = attempt.arrays(result, dx=shape, dgamma=(shape[1],), dbeta=(shape[1],))
        deviation = np.sqrt(x.var(_AXES, keepdims=True) + eps)
        plain = (x - x.mean(_AXES, keepdims=True)) / deviation
        count = x.size // shape[1]
        averaged = Said("It is the mean; the gradients of all values are summed.", "这是平均值；应对所有值的梯度求和。")
        exchanged = Said("dgamma and dbeta are exchanged.", "dgamma 和 dbeta 颠倒了。")
        compare("dbeta", found[2], dbeta, [(dbeta / count, averaged), (dgamma, exchanged)])
        not_normalised = Said(
            "g is multiplied by x; γ multiplies x̂, the normalised input.", "g 乘的是 x；γ 乘的是归一化后的 x̂。"
        )
        of_gamma = [(dgamma / count, averaged), ((g * x).sum(_AXES), not_normalised)]
        compare("dgamma", found[1], dgamma, of_gamma)
        scale = _maps(gamma) / deviation
        through_mean, through_variance = g.mean(_AXES, keepdims=True), plain * (g * plain).mean(_AXES, keepdims=True)
        compare(
            "dx",
            found[0],
            dx,
            [
                (
                    scale * g,
                    Said(
                        "Mean and variance are taken for constants; a value of x changes both, and by them all outputs "
                        "of its channel.",
                        "把均值和方差当成了常数；x 的一个值会改变两者，从而改变该通道的所有输出。",
                    ),
                ),
                (
                    scale * (g - through_mean),
                    Said("The path through the variance is missing.", "缺少经过方差的路径。"),
                ),
                (
                    scale * (g - through_variance),
                    Said("The path through the mean is missing.", "缺少经过均值的路径。"),
                ),
                (dx / _maps(gamma), Said("The factor γ is missing.", "缺少因子 γ。")),
                (
                    dx * deviation,
                    Said("The factor 1 / √(variance + ε) is missing.", "缺少因子 1 / √(方差 + ε)。"),
                ),
                (
                    scale * (g - count * through_mean - count * through_variance),
                    Said(
                        "Sums over the channel stand where its means belong.",
                        "应当用通道上的平均值的地方用了总和。",
                    ),
                ),
            ],
        )
