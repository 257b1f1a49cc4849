"""Parts of batch normalisation before any formula: the layer, its output, and its parameters gamma and beta."""

import torch
from torch import Tensor, nn

from hourglass.exercises.norm_trial import CHANNELS, MAPS, ROWS, TOLERANCE, Trial, along, others, raised

FORMULA = "y = gamma * (x - mean) / sqrt(variance + eps) + beta"


def check_construction(trial: Trial) -> None:
    """Find out what the class takes: feature maps or rows, in double or in single precision."""
    done = f"{trial.name}({CHANNELS}) was called with the number of channels."
    expected = "a layer, an instance of torch.nn.Module."
    try:
        layer = trial.norm(CHANNELS)
    except Exception as error:
        raise trial.error(
            done=done,
            expected=expected,
            found=raised(error),
            mistake="__init__ has to take one number, the number of channels; all other arguments need defaults.",
        ) from error
    if not isinstance(layer, nn.Module):
        raise trial.error(
            done=done,
            expected=expected,
            found=f"an object of type {type(layer).__name__}.",
            mistake="derive the class from torch.nn.Module, and call super().__init__() first in __init__.",
        )
    if trial.norm(CHANNELS) is layer:
        raise trial.error(
            done=f"{trial.name}({CHANNELS}) was called twice.",
            expected="two layers: each place in a network has moments and parameters of its own.",
            found="the same layer twice.",
            mistake="the function returns a layer that was made before; make a new one in each call.",
        )
    for shape in (MAPS, ROWS):
        for dtype in (torch.float64, torch.float32):
            trial.shape, trial.dtype = shape, dtype
            try:
                trial.layer()(trial.batch())
            except Exception:  # noqa: S112  # if every combination fails, the call below reports why
                continue
            return
    trial.shape, trial.dtype, trial.part = MAPS, torch.float32, "output"
    trial.call(trial.layer(), trial.batch(), f"A batch of shape {MAPS} went through the layer.")


def check_output(trial: Trial) -> None:
    """The output has the input's shape, is finite, and the input is left as it was."""
    x = trial.batch()
    before, done = x.clone(), f"A batch of shape {trial.shape} went through a new layer in training mode."
    y = trial.call(trial.layer(), x, done)
    if y.shape != x.shape:
        raise trial.error(
            done=done,
            expected=f"the same shape, {tuple(x.shape)}: every number is replaced by its normalised value.",
            found=f"the shape {tuple(y.shape)}.",
            mistake="a mean or variance has lost or gained an axis; compute them with keepdim=True, or reshape them to "
            "(1, c, 1, 1).",
        )
    if not y.isfinite().all():
        raise trial.error(
            done=done,
            expected="finite numbers; the variance of every channel is well above 0.",
            found=f"{int((~y.isfinite()).sum())} of {y.numel()} numbers are NaN or infinite.",
            mistake="a division by zero or the root of a negative number; look at each step for the first NaN.",
        )
    if not torch.equal(x, before):
        raise trial.error(
            done=done,
            expected="that the input stays as it is: other layers, and autograd, may need it again.",
            found="the input itself was changed.",
            mistake="an operation in place, such as x -= mean; write x = x - mean.",
        )


def check_parameters(trial: Trial) -> None:
    """Find gamma and beta among the parameters by what they do."""
    x = trial.batch()
    plain = trial.call(trial.layer(), x, "A batch went through a new layer.").detach()
    roles: dict[str, list[str]] = {"scale": [], "shift": [], "nothing": []}
    for name, parameter in trial.layer().named_parameters():
        role = _role(trial, name, x, plain)
        if parameter.numel() != CHANNELS and role != "nothing":
            raise trial.error(
                done=f"The parameter {name} was changed.",
                expected=f"one gamma and one beta for each of the {CHANNELS} channels: they are shared by all images "
                "and all pixels of a feature map.",
                found=f"{name} has the shape {tuple(parameter.shape)}, {parameter.numel()} numbers.",
                mistake="make it of shape (channels,), and reshape it to (1, channels, 1, 1) where it meets maps.",
            )
        if not parameter.requires_grad and role != "nothing":
            raise trial.error(
                done="The layer's parameters were listed.",
                expected="that gamma and beta are learnt.",
                found=f"{name} has requires_grad=False, so that no optimiser changes it.",
                mistake="leave requires_grad=False out.",
            )
        roles[role].append(name)
    for role, symbol, does, start in (
        ("scale", "gamma", "multiplies each normalised feature map", "ones"),
        ("shift", "beta", "is added to each normalised feature map", "zeros"),
    ):
        if len(roles[role]) == 1:
            continue
        listed = ", ".join(name for names in roles.values() for name in names) or "none at all"
        plain_tensor = _plain_tensor(trial, role, x, plain)
        raise trial.error(
            done="Each of the layer's parameters was changed, to see what it does.",
            expected=f"exactly one parameter that {does}: {symbol}, with {CHANNELS} numbers. Without gamma and beta "
            "the layer could not undo its normalisation, and the network could express less.",
            found=f"{len(roles[role])} such parameters. The parameters are: {listed}.",
            mistake="several parameters do the same; one of them is enough."
            if roles[role]
            else f"{plain_tensor} is a plain tensor, which no optimiser sees; write "
            f"self.{plain_tensor} = nn.Parameter(torch.{start}(channels))."
            if plain_tensor
            else f"{symbol} is missing, or is not used in forward; write "
            f"self.{symbol} = nn.Parameter(torch.{start}(channels)) in __init__, and use it: {FORMULA}.",
        )
    trial.scale, trial.shift = roles["scale"][0], roles["shift"][0]


def _role(trial: Trial, name: str, x: Tensor, plain: Tensor) -> str:
    """What a tensor of the layer does to the output when 1 is added to it."""
    layer = trial.layer()
    owner, _, attribute = name.rpartition(".")
    tensor = getattr(layer.get_submodule(owner), attribute)
    with torch.no_grad():
        tensor.add_(1)
    change = trial.call(layer, x, f"1 was added to {name}.").detach() - plain
    largest = float(change.abs().max())
    if not largest > TOLERANCE:  # also where it is NaN
        return "nothing"
    spread = change - along(change.mean(others(x)), x)
    return "shift" if float(spread.abs().max()) < TOLERANCE * largest else "scale"


def _plain_tensor(trial: Trial, role: str, x: Tensor, plain: Tensor) -> str | None:
    """Name of a tensor of the layer that is no parameter and does what gamma or beta should."""
    layer = trial.layer()
    tensors = dict(layer.named_buffers()) | {key: value for key, value in vars(layer).items() if torch.is_tensor(value)}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and _role(trial, name, x, plain) == role:
            return name
    return None
