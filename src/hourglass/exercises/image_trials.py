"""Checks of the exercises on autoencoders and denoising: sizes, cross-entropy, clipped noise."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hourglass.denoising.clipping import expected_clipped
from hourglass.exercises.attempt import Attempt, Numbers, Said, compare, wrong
from hourglass.nn import SameConv2d

_SHAPES = [(28, 28, 3), (7, 12, 2), (1, 5, 3), (33, 64, 4)]


def _sizes_of_layers(height: int, width: int, stages: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Sizes of maps that go through real layers."""
    maps, encoder, decoder = torch.zeros(1, 1, height, width), [], []
    layer = SameConv2d(1, 1, stride=2)
    with torch.no_grad():
        for _ in range(stages):
            maps = layer(maps)
            encoder.append((maps.shape[2], maps.shape[3]))
        for _ in range(stages):
            maps = F.conv_transpose2d(maps, torch.ones(1, 1, 2, 2), stride=2)
            decoder.append((maps.shape[2], maps.shape[3]))
    return encoder, decoder


def _pairs(value: Any, name: str) -> list[tuple[int, int]]:
    try:
        return [(int(height), int(width)) for height, width in value]
    except (TypeError, ValueError):
        wrong(
            f"{name} is no list of pairs (height, width): {value!r}.",
            f"{name} 不是由 (高, 宽) 组成的列表：{value!r}。",
        )


def check_pyramid(attempt: Attempt) -> None:
    """Sizes in the encoder and in the decoder, against real layers."""
    for height, width, stages in _SHAPES:
        with torch.random.fork_rng([]):
            expected = _sizes_of_layers(height, width, stages)
        result = attempt.call(height, width, stages)
        if not isinstance(result, tuple | list) or len(result) != 2:
            wrong(
                "Your function has to return two lists: (encoder, decoder).",
                "你的函数应返回两个列表：(encoder, decoder)。",
            )
        found = _pairs(result[0], "encoder"), _pairs(result[1], "decoder")
        example = Said(
            f"For an image of {height} × {width} pixels and {stages} stages:",
            f"图像为 {height} × {width} 像素、共 {stages} 级时：",
        )
        for name, sizes, right in zip(("encoder", "decoder"), found, expected, strict=True):
            if sizes == right:
                continue
            said = example + Said(f"{name} is {sizes}, and {right} is right.", f"{name} 是 {sizes}，正确的是 {right}。")
            said += _why_sizes(name, sizes, right, (height, width))
            wrong(said.en, said.zh)


def _why_sizes(name: str, sizes: list[tuple[int, int]], right: list[tuple[int, int]], start: tuple[int, int]) -> Said:
    if len(sizes) == len(right) + 1:
        return Said(
            "There is one pair too many; the size before the first stage does not belong to the list.",
            "多了一对：第一级之前的尺寸不应放入列表。",
        )
    if len(sizes) != len(right):
        return Said("There is one pair for each stage.", "每一级对应一对数。")
    if sizes == [(width, height) for height, width in right]:
        return Said("Height and width are exchanged.", "高和宽颠倒了。")
    if name == "decoder":
        mirrored = [start]
        for _ in right[1:]:
            mirrored.append((-(-mirrored[-1][0] // 2), -(-mirrored[-1][1] // 2)))
        if sizes == mirrored[::-1]:
            return Said(
                "These are the sizes of the encoder in reverse. A transposed convolution with stride 2 always doubles.",
                "这是编码器各级尺寸的逆序。步幅为 2 的转置卷积总是把尺寸变为两倍。",
            )
        return Said("Each stage of the decoder doubles height and width.", "解码器的每一级把高和宽变为两倍。")
    height, width = start
    down = Said("Halves are rounded up, not down.", "减半时要向上取整，而不是向下取整。")
    valid = Said(
        'This is right without padding ("valid"). With "same" padding the kernel may stand at the edge.',
        "这是没有填充（valid）时的尺寸。采用 same 填充时，卷积核可以放在边缘上。",
    )
    for lost, said in ((0, down), (1, valid)):  # (size - 3) // 2 + 1 is (size - 1) // 2
        sequence, h, w = [], height, width
        for _ in right:
            h, w = (h - lost) // 2, (w - lost) // 2
            sequence.append((h, w))
        if sizes == sequence:
            return said
    return Said("Each stage of the encoder keeps every second pixel.", "编码器的每一级每隔一个像素取一个。")


def check_cross_entropy(attempt: Attempt) -> None:
    """The loss of each logit, against PyTorch's, for small logits, pixels between 0 and 1, and large logits."""
    generator = np.random.default_rng(0)
    cases: list[tuple[Numbers, Numbers]] = [
        (np.array([-2.0, -0.5, 0.0, 1.0, 3.0]), np.array([0.0, 1.0, 1.0, 0.0, 1.0])),
        (generator.normal(0, 3, (4, 5)), generator.random((4, 5))),
        (np.array([-1000.0, -60.0, 60.0, 1000.0]), np.array([1.0, 0.75, 0.0, 0.25])),
    ]
    for logits, targets in cases:
        expected = F.binary_cross_entropy_with_logits(
            torch.from_numpy(logits), torch.from_numpy(targets), reduction="none"
        ).numpy()
        result = attempt.call(logits, targets)
        if np.ndim(result) == 0:
            wrong(
                "Your function returned one number; return the loss of each pixel, without mean or sum.",
                "你的函数只返回了一个数；请返回每个像素的损失，不要求平均或求和。",
            )
        [found] = attempt.arrays(result, loss=logits.shape)
        compare("loss", found, expected, _cross_entropy_mistakes(logits, targets))


def _cross_entropy_mistakes(z: Numbers, t: Numbers) -> list[tuple[Numbers, Said]]:
    with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-z))
        clipped = [np.clip(p, tiny, 1 - tiny) for tiny in (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15)]
        loss = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
        return [
            (t * z - loss, Said("Its sign is reversed: a loss is 0 or more.", "符号反了：损失不小于 0。")),
            (
                loss - (1 - t) * z,
                Said("Targets of 0 and 1 are exchanged.", "目标 0 和 1 颠倒了。"),
            ),
            (
                -t * np.log(p),
                Said(
                    "The second term, -(1 - t) · log(1 - p), is missing.",
                    "缺少第二项 -(1 - t) · log(1 - p)。",
                ),
            ),
            *(
                (
                    -t * np.log(q) - (1 - t) * np.log(1 - q),
                    Said(
                        "The probability is clipped, so that large logits get too small a loss and no gradient. "
                        "Simplify the formula so that log(0) cannot occur.",
                        "概率被截断了：logit 很大时损失偏小，并且没有梯度。请化简公式，使 log(0) 不会出现。",
                    ),
                )
                for q in clipped
            ),
            (
                -t * np.log(z) - (1 - t) * np.log(1 - z),
                Said(
                    "The logits are taken for probabilities; p is the sigmoid of the logit.",
                    "把 logit 当成了概率；p 是 logit 的 sigmoid。",
                ),
            ),
        ]


def check_clipping(attempt: Attempt) -> None:
    """The average of a clipped noisy pixel, against the package's own."""
    generator = np.random.default_rng(0)
    for x, sigma in (
        (np.array([0.0, 0.1, 0.5, 0.9, 1.0]), 0.2),
        (generator.random((3, 4)), 0.5),
        (np.array([0.0, 0.25, 1.0]), 0.01),
    ):
        expected = expected_clipped(x, sigma)
        [found], [again] = (attempt.arrays(attempt.call(x, sigma), average=x.shape) for _ in range(2))
        if not np.array_equal(found, again):
            wrong(
                "Your function draws random numbers, so that its result is different each time. The average can be "
                "computed exactly, as an integral.",
                "你的函数使用了随机数，因此每次结果都不同。平均值可以用积分精确地算出。",
            )
        compare("average", found, expected, _clipping_mistakes(x, sigma))


def _clipping_mistakes(x: Numbers, sigma: float) -> list[tuple[Numbers, Said]]:
    # A pixel clipped at one end alone is one with the other end far away.
    wide = 1 + 60 * sigma
    at_black = wide * expected_clipped(x / wide, sigma / wide)
    at_white = 1 - wide * expected_clipped((1 - x) / wide, sigma / wide)
    return [
        (
            x,
            Said(
                "It is the clean pixel itself. Without clipping that would be right; with it, black pixels get "
                "brighter on average, and white ones darker.",
                "这就是干净的像素本身。不截断时是对的；截断后，黑色像素平均变亮，白色像素平均变暗。",
            ),
        ),
        (
            at_black,
            Said(
                "Only values below 0 are clipped here; those above 1 become 1.",
                "这里只截断了小于 0 的值；大于 1 的值也要变为 1。",
            ),
        ),
        (
            at_white,
            Said(
                "Only values above 1 are clipped here; those below 0 become 0.",
                "这里只截断了大于 1 的值；小于 0 的值也要变为 0。",
            ),
        ),
        (
            _lacking(x, sigma),
            Said(
                "The share of pixels that are clipped to 1 is missing: 1 - Φ((1 - x) / σ).",
                "缺少被截断为 1 的那部分像素：1 - Φ((1 - x) / σ)。",
            ),
        ),
    ]


def _lacking(x: Numbers, sigma: float) -> Numbers:
    """The average without the pixels that are clipped to 1."""
    above: Numbers = torch.special.ndtr(torch.from_numpy((x - 1) / sigma)).numpy()
    return expected_clipped(x, sigma) - above
