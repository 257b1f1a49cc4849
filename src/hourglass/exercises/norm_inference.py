"""Parts of batch normalisation in inference: which moments are used, and how they were averaged."""

import torch
from torch import Tensor, nn

from hourglass.exercises.norm_trial import CHANNELS, TOLERANCE, Trial, along, near, numbers, others

# Moments of the batches that the moving statistics average, far from their start at 0 and 1, and from each other.
_STEPS = (
    {"means": (4.0, -2.0, 1.0), "deviations": (3.0, 2.0, 0.5)},
    {"means": (-3.0, 5.0, 2.0), "deviations": (2.0, 4.0, 0.4)},
    {"means": (1.0, -6.0, -4.0), "deviations": (4.0, 0.5, 3.0)},
)
# The share of the new batch is smaller than that of all batches before.
_LARGEST_SHARE = 0.5
_AVERAGE = "moving = (1 - momentum) * moving + momentum * batch"


def batches(trial: Trial, shape: tuple[int, ...] | None = None) -> list[Tensor]:
    """Batches of the training steps."""
    return [trial.batch(seed, shape=shape, **moments) for seed, moments in enumerate(_STEPS, 10)]


def trained(trial: Trial, steps: int, shape: tuple[int, ...] | None = None) -> nn.Module:
    """New layer after some batches in training mode, put in inference mode."""
    layer = trial.layer()
    for x in batches(trial, shape)[:steps]:
        trial.call(layer, x, "A batch went through the layer in training mode.")
    return layer.eval()


def check_inference(trial: Trial) -> None:
    """Inference changes nothing, does not depend on the batch, and takes one image at a time."""
    x = trial.batch()
    layer = trained(trial, 2)
    done = "After two training steps the layer was put in inference mode (layer.eval())"
    expected = (
        "that in inference an image is normalised by the moving averages alone: its output must not depend on which "
        "images come before it or beside it."
    )
    together = trial.call(layer, x, f"{done}, and a batch went through it.").detach()
    again = trial.call(layer, x, f"{done}, and the same batch went through it twice.").detach()
    if not torch.equal(together, again):
        raise trial.error(
            done=f"{done}, and the same batch went through it twice.",
            expected=expected,
            found="two different outputs.",
            mistake="the moving averages are updated in inference mode too; update them only where self.training is "
            "True.",
        )
    company = torch.cat([x[:1], 5 * trial.batch(3)[1:] + 10])
    beside = trial.call(layer, company, f"{done}, and an image went through it beside others.").detach()
    if not near(beside[:1], together[:1], TOLERANCE):
        own = trained(trial, 0).train()
        same = near(together, trial.call(own, x, "A batch went through a new layer.").detach(), 1e-3)
        raise trial.error(
            done=f"{done}, and one image went through it in two batches, beside different images.",
            expected=expected,
            found="two different outputs for this image.",
            mistake="inference uses the moments of the batch itself. Where self.training is False, use the moving "
            "averages in their place."
            if same
            else "something in inference mode is computed from the whole batch.",
        )
    alone = torch.cat(
        [trial.call(layer, image, f"{done}, and one image alone went through it.") for image in x.split(1)]
    )
    if not near(alone.detach(), together, TOLERANCE):
        raise trial.error(
            done=f"{done}, and images went through it one by one and together.",
            expected=expected,
            found="different outputs.",
            mistake="something in inference mode is computed from the whole batch.",
        )


def moving(trial: Trial, layer: nn.Module, shape: tuple[int, ...] | None = None) -> tuple[Tensor, Tensor]:
    """Moving mean and variance of a layer with gamma 1 and beta 0, from what it does in inference."""
    x = trial.batch(5, shape=shape)
    x[0], x[1] = 0, 1
    done = "A batch of zeros, ones and other numbers went through the layer in inference mode."
    y = trial.call(layer, x, done).detach().double()
    at_zero, at_one = y[0].flatten(1)[:, 0] if y.dim() > 2 else y[0], y[1].flatten(1)[:, 0] if y.dim() > 2 else y[1]
    slope = at_one - at_zero
    straight = x * along(slope, x) + along(at_zero, x)
    if not near(y, straight.double(), 10 * TOLERANCE) or not bool((slope > 0).all()):
        raise trial.error(
            done=done,
            expected="that each channel is shifted and scaled: gamma * (x - moving mean) / sqrt(moving variance + eps) "
            "+ beta.",
            found=f"outputs that are no such map of the inputs; 0 becomes {numbers(at_zero)} and 1 becomes "
            f"{numbers(at_one)} in the {CHANNELS} channels.",
            mistake="a moving variance that is 0, negative or NaN, or a formula that differs from that of training.",
        )
    return -at_zero / slope, 1 / slope.square() - trial.eps


def check_moving_mean(trial: Trial) -> None:
    """The moving mean starts at 0 and goes towards the mean of each batch by the same share."""
    means = [moving(trial, trained(trial, steps))[0] for steps in range(len(_STEPS) + 1)]
    if float(means[0].abs().max()) > 1e-3:
        raise trial.error(
            done="A new layer was used in inference mode, before any training step.",
            expected="that the moving mean starts at 0.",
            found=f"it starts at {numbers(means[0])}.",
            mistake="the initial value; write self.register_buffer('running_mean', torch.zeros(channels)).",
        )
    shares = []
    for step, x in enumerate(batches(trial)):
        target = x.mean(others(x)).double()
        share = (means[step + 1] - means[step]) / (target - means[step])
        done = (
            f"Training step {step + 1} had a batch whose channels have the means {numbers(target)}. From inference "
            f"mode before and after it, the moving mean went from {numbers(means[step])} to {numbers(means[step + 1])}."
        )
        expected = f"that it goes a part of the way towards the mean of the batch: {_AVERAGE}."
        if float(share.abs().max()) < 1e-6:
            raise trial.error(
                done=done,
                expected=expected,
                found="that it stays where it was.",
                mistake="the moving mean is not updated in training mode, or what is assigned is another variable than "
                "the one that inference uses (self. is missing).",
            )
        if float((share - share.mean()).abs().max()) > 0.01 * float(share.abs().max()):
            raise trial.error(
                done=done,
                expected=expected,
                found=f"the channels go different parts of the way: {numbers(share)}.",
                mistake="what is averaged is not the mean of each channel over the batch.",
            )
        shares.append(float(share.mean()))
    _check_shares(trial, shares)
    trial.shares = shares


def _check_shares(trial: Trial, shares: list[float]) -> None:
    """The share of the batch is the same in each step, or that of an average which corrects for its start."""
    done = f"{len(shares)} batches went through a new layer in training mode."
    found = f"the batches' shares in the moving mean were {numbers(torch.tensor(shares))}."
    if max(shares) - min(shares) < 0.02 * max(shares):
        if shares[0] <= _LARGEST_SHARE:
            return
        raise trial.error(
            done=done,
            expected=f"that a new batch has a small share, such as 0.1 or 0.01, in the moving mean: {_AVERAGE}. "
            "The averages should be those of many batches.",
            found=found,
            mistake="momentum is the wrong way round. In PyTorch's convention, momentum=0.1 is the share of the new "
            "batch; in TensorFlow's, momentum=0.9 is the share of the old average.",
        )
    # An average corrected for its start has the shares m / (1 - (1 - m)^t); as m goes to 0, an equal share of all.
    rate = 2 - 1 / shares[1] if shares[1] > 0 else 1.0
    corrected = [rate / (1 - (1 - rate) ** t) if abs(rate) > 1e-3 else 1 / t for t in range(1, len(shares) + 1)]
    if any(abs(one - other) > 0.01 for one, other in zip(shares, corrected, strict=True)):
        raise trial.error(
            done=done,
            expected=f"that each batch gets the same share: {_AVERAGE}.",
            found=found,
            mistake="the share depends on the step.",
        )


def predicted(trial: Trial, given: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Moving mean and variance after batches, from the shares and the kind of variance that were found."""
    mean, variance = torch.zeros(CHANNELS, dtype=torch.float64), torch.ones(CHANNELS, dtype=torch.float64)
    for share, x in zip(trial.shares, given, strict=False):
        batch = x.double().var(others(x), correction=int(trial.stored == "unbiased"))
        mean = mean + share * (x.double().mean(others(x)) - mean)
        variance = variance + share * (batch - variance)
    return mean, variance


def check_moving_variance(trial: Trial) -> None:
    """The moving variance starts at 1 and goes towards that of each batch by the same share as the mean."""
    variances = [moving(trial, trained(trial, steps))[1] for steps in range(len(_STEPS) + 1)]
    if float((variances[0] - 1).abs().max()) > 1e-3:
        raise trial.error(
            done="A new layer was used in inference mode, before any training step.",
            expected="that the moving variance starts at 1, so that the layer changes little at first.",
            found=f"it starts at {numbers(variances[0])}.",
            mistake="the initial value; write self.register_buffer('running_var', torch.ones(channels)).",
        )
    given = batches(trial)
    for trial.stored in ("biased", "unbiased"):
        if all(near(variances[t], predicted(trial, given[:t])[1], 1e-3) for t in range(len(given) + 1)):
            return
    trial.stored = "biased"
    change, x = variances[1] - 1, given[0]
    variance, share = x.double().var(others(x), correction=0), trial.shares[0]
    if float(change.abs().max()) < 1e-6:
        mistake = "the moving variance is not updated in training mode."
    elif near(change, share * (variance.sqrt() - 1), 0.01):
        mistake = "the deviation is averaged, and not the variance."
    elif near(change, (1 - share) * (variance - 1), 0.05):
        mistake = f"momentum is the wrong way round for the variance: its share was {1 - share:.3g}."
    elif near(change, share * variance, 0.01):
        mistake = "the old variance is kept whole; it has to be multiplied by (1 - momentum)."
    else:
        mistake = "what is averaged is not the variance of each channel over the batch, without epsilon."
    raise trial.error(
        done=f"A training step had a batch whose channels have the variances {numbers(variance)}.",
        expected=f"that the moving variance goes from 1 by the same share as the mean, {share:.3g}, towards them: "
        f"to {numbers(1 + share * (variance - 1))} (or slightly more with the unbiased variance).",
        found=f"{numbers(variances[1])}.",
        mistake=mistake,
    )
