"""Parts of batch normalisation around the formulas: what is stored, other inputs, and number types."""

import torch
from torch import Tensor, nn

from hourglass.exercises.norm_inference import batches, moving, predicted, trained
from hourglass.exercises.norm_trial import CHANNELS, KINDS, MAPS, ROWS, Trial, near, others, raised


def check_state(trial: Trial) -> None:
    """The moving averages are buffers: saved with the layer, not learnt, and without the graph of former steps."""
    layer = trial.layer()
    names = {trial.scale, trial.shift}
    idle = [name for name, each in layer.named_parameters() if each.requires_grad and name not in names]
    done = "The layer's parameters and buffers were listed."
    if idle:
        raise trial.error(
            done=done,
            expected="gamma and beta, and no others: moving averages are not learnt.",
            found=f"the parameters {', '.join(idle)} besides.",
            mistake="moving averages that are made by nn.Parameter, so that an optimiser may change them; write "
            f"self.register_buffer('{idle[0]}', …).",
        )
    for name, tensor in _tensors(trial.norm(CHANNELS)).items():
        if tensor.requires_grad:
            raise trial.error(
                done=done,
                expected="that only gamma and beta have gradients.",
                found=f"{name} has requires_grad=True.",
                mistake="leave requires_grad=True out; moving averages are no part of what is learnt.",
            )
    inputs = [x.requires_grad_() for x in batches(trial)[:2]]
    for x in inputs:
        trial.call(layer, x, "A batch that needs a gradient went through the layer in training mode.")
    for name, tensor in _tensors(layer).items():
        if tensor.grad_fn is None:
            continue
        [first] = torch.autograd.grad(tensor.sum(), inputs[:1], allow_unused=True, retain_graph=True)
        if first is not None:
            raise trial.error(
                done="Two batches that need gradients went through the layer in training mode.",
                expected="that the moving averages are plain numbers, which know nothing of the batches they came of.",
                found=f"{name} is still connected with the first batch (it has a grad_fn), so that each training step "
                "needs more memory than the one before.",
                mistake="the averages are updated outside torch.no_grad(); update them inside, or from "
                "mean.detach() and variance.detach().",
            )
    _check_saved(trial)


def _tensors(layer: nn.Module) -> dict[str, Tensor]:
    """Buffers and plain tensors of a layer, by name."""
    return dict(layer.named_buffers()) | {key: value for key, value in vars(layer).items() if torch.is_tensor(value)}


def _check_saved(trial: Trial) -> None:
    layer, x = trained(trial, 3), trial.batch()
    done = "The state_dict() of a layer after three training steps was loaded into a new layer."
    fresh = trial.layer()
    try:
        fresh.load_state_dict(layer.state_dict())
    except Exception as error:
        raise trial.error(
            done=done,
            expected="that it fits.",
            found=raised(error),
            mistake="the shape of a parameter or buffer changes in training.",
        ) from error
    if near(trial.call(fresh.eval(), x, done).detach(), trial.call(layer, x, done).detach(), 1e-3):
        return
    raise trial.error(
        done=done,
        expected="that both compute the same in inference mode. A saved network has nothing but its state_dict().",
        found="different outputs.",
        mistake="the moving averages are plain tensors, which are neither saved nor moved to a GPU; write "
        "self.register_buffer('running_mean', torch.zeros(channels)) in __init__, and the variance likewise.",
    )


def check_other_shape(trial: Trial) -> str:
    """Rows where feature maps were tried, or the reverse: normalised by the same formula, or refused.

    Returns
    -------
    str
        Why the part is left out; empty where it is not.
    """
    shape = ROWS if trial.shape == MAPS else MAPS
    x = trial.batch(shape=shape)
    try:
        y = trial.layer()(x)
    except Exception as error:  # somebody's own class may refuse in any way
        said = f"{KINDS[shape]} are refused ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        return said if shape == MAPS else f"{said}, so that the layer cannot follow a dense one, as in ConvClassifier"
    axes = "(0, 2, 3)" if shape == MAPS else "(0,)"
    done = f"A batch of {KINDS[shape]}, of shape {tuple(shape)}, went through a new layer in training mode."
    if not (isinstance(y, Tensor) and y.shape == x.shape and near(y.detach(), trial.formula(x), 1e-3)):
        raise trial.error(
            done=done,
            expected=f"that each channel is normalised by its own mean and variance over the axes {axes}, or that the "
            "layer refuses such a batch with an error.",
            found="other numbers, or another shape.",
            mistake="the axes of the moments are right for the other kind of input only. Choose them by x.dim(), as in "
            "dims = [axis for axis in range(x.dim()) if axis != 1], and reshape gamma and beta accordingly.",
        )
    found = moving(trial, trained(trial, 2, shape), shape)
    expected = predicted(trial, batches(trial, shape)[:2])
    if not all(near(one, other, 1e-2) for one, other in zip(found, expected, strict=True)):
        raise trial.error(
            done=f"Two batches of {KINDS[shape]} went through a new layer in training mode, then one in inference.",
            expected="that the moving averages are those of these batches.",
            found="other moving averages.",
            mistake="the number of values in a channel, or the axes of the moments, are those of the other kind of "
            "input.",
        )
    return ""


def check_layout(trial: Trial) -> None:
    """Feature maps whose memory is laid out channels last, as this package's networks lay them out."""
    x = trial.batch(shape=MAPS)
    expected = trial.call(trial.layer(), x, "A batch went through a new layer.").detach()
    done = "A batch in the memory format channels last went through a new layer, as in the networks of this package."
    try:
        found = trial.layer()(x.to(memory_format=torch.channels_last)).detach()
    except Exception as error:
        raise trial.error(
            done=done,
            expected="the same as for any other layout of the same numbers.",
            found=raised(error),
            mistake="x.view, which takes no other layout; write x.reshape.",
        ) from error
    if not near(found, expected):
        raise trial.error(
            done=done,
            expected="the same as for any other layout of the same numbers.",
            found="other numbers.",
            mistake="the memory of x is read directly, as by as_strided or by a kernel of your own.",
        )


def large_means(trial: Trial) -> str:
    """Why the variance is inexact in float32 where means are large; empty where it is exact."""
    x = trial.batch(shape=trial.shape, means=(1000.0, -3000.0, 2000.0), deviations=(1.0, 1.0, 1.0)).float()
    layer = trial.layer().float()
    y = trial.call(layer, x, "A batch with large means went through a new layer in float32.").detach()
    if near(y.double(), trial.formula(x.double()), 0.02):
        return ""
    return (
        "in float32, channels with a large mean are normalised inexactly: the variance is probably computed as the "
        "mean of the squares minus the square of the mean; take the mean of the squares of (x - mean)"
    )


def bfloat16(trial: Trial) -> str:
    """Why the moments are inexact in bfloat16; empty where they are exact."""
    shape = (16, CHANNELS, 8, 8) if trial.shape == MAPS else (512, CHANNELS)
    means = (100.25, -60.13, 30.07)
    x = trial.batch(shape=shape, means=means, deviations=(1.0, 1.0, 1.0)).bfloat16()
    layer: nn.Module = trial.layer().float()
    try:
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x).detach()
    except Exception as error:  # somebody's own class may raise anything
        return f"batches in bfloat16 are refused ({type(error).__name__}: {error})"
    wide = x.double()
    expected = trial.formula(wide)
    if float((y.double() - expected).mean(others(wide)).abs().max()) < 0.03:
        return ""
    return (
        "under torch.autocast to bfloat16 (precision='bfloat16') the moments are rounded to 3 digits; compute them of "
        "x.float()"
    )
