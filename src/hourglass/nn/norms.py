"""Normalisations by name, and those that somebody gives as a class or a function."""

import functools
import inspect
from collections.abc import Callable

from torch import nn

from hourglass.nn.batchnorm import FrameworkBatchNorm, MovingStatistics
from hourglass.nn.image_norms import GroupNorm, InstanceNorm, LayerNorm
from hourglass.nn.manual import ManualBatchNorm
from hourglass.nn.variants import BatchRenorm, GhostBatchNorm

NormFactory = Callable[[int], nn.Module]
"""Class or function that takes the number of channels and returns a layer."""

NORMS: dict[str, Callable[..., nn.Module] | None] = {
    "none": None,
    "batch": FrameworkBatchNorm,
    "batch-manual": ManualBatchNorm,
    "layer": LayerNorm,
    "group": GroupNorm,
    "instance": InstanceNorm,
    "ghost": GhostBatchNorm,
    "renorm": BatchRenorm,
}
"""Every normalisation by name; ``batch`` is PyTorch's batch normalisation, ``batch-manual`` the same written out.

An entry is called with the number of channels and, where it has parameters of these names, with ``eps`` and
``momentum``, the share of the new batch in the moving statistics. A class whose output at a pixel depends in inference
on other pixels has the attribute ``looks_at_whole_image = True``.
"""

LOCAL_NORMS: dict[str, Callable[..., nn.Module]] = {
    "batch-manual-local": functools.partial(ManualBatchNorm, synchronised=False),
}
"""Normalisations by name whose layers, in training by several processes, see the part of their own process alone.

In one process each is the same as the entry of ``NORMS`` whose name it has, without ``-local``.
"""

NORMS_IN_WORDS = {
    "none": "without normalisation",
    "batch": "with PyTorch's batch normalisation",
    "batch-manual": "with batch normalisation written out",
    "layer": "with layer normalisation",
    "group": "with group normalisation",
    "instance": "with instance normalisation",
    "ghost": "with ghost batch normalisation",
    "renorm": "with batch renormalisation",
    "batch-manual-local": "with batch normalisation written out, of each process's part",
}
"""What a title says of a network with each normalisation, by its name."""

HOW_TO_NAME = (
    "add it to the table of names (hourglass.nn.NORMS['mine'] = MyBatchNorm, see CONTRIBUTING.md) and give norm='mine'"
)
"""What to do where a class of somebody's own cannot be taken itself, for errors."""


def check_known(norm: object) -> None:
    """Raise ValueError unless ``norm`` is a name of the two tables, or a class or function that makes a layer.

    Parameters
    ----------
    norm : object
        What somebody gave as ``norm``.
    """
    if isinstance(norm, nn.Module):
        kind = type(norm).__name__
        raise ValueError(
            f"norm={kind}(…) is one layer, but each place of a network needs a layer of its own; "
            f"give what makes one: norm={kind}, or a function such as lambda channels: {kind}(channels)"
        )
    if norm not in NORMS | LOCAL_NORMS if isinstance(norm, str) else not callable(norm):
        raise ValueError(
            f"norm={norm!r} is unknown; choose one of {', '.join(NORMS | LOCAL_NORMS)}, or give in "
            "Python a class or a function of the number of channels (a name of your own has to be in "
            "hourglass.nn.NORMS)"
        )


def norm_name(norm: str | NormFactory) -> str:
    """Name of a normalisation, such as ``"batch"`` or ``"MyBatchNorm"``.

    Parameters
    ----------
    norm : str or callable
        Name, class or function.

    Returns
    -------
    str
        Of a class or function the name that it was defined with.
    """
    if isinstance(norm, str):
        return norm
    made_by = norm.func if isinstance(norm, functools.partial) else norm
    name: str = getattr(made_by, "__qualname__", type(made_by).__name__)
    return name.rpartition("<locals>.")[2]


def norm_in_words(norm: str | NormFactory) -> str:
    """What a title says of a network with a normalisation, such as ``"with layer normalisation"``.

    Parameters
    ----------
    norm : str or callable
        Name, class or function.

    Returns
    -------
    str
        From ``NORMS_IN_WORDS``, or with the name.
    """
    name = norm_name(norm)
    if name == "<lambda>":
        return "with a normalisation of its own"
    return NORMS_IN_WORDS.get(name, f"with {name}") if isinstance(norm, str) else f"with {name}"


def has_moving_statistics(norm: object) -> bool:
    """Whether a normalisation keeps moving statistics, by its name; False for unknown names."""
    kind = _maker(norm) if isinstance(norm, str) else None
    kind = kind.func if isinstance(kind, functools.partial) else kind
    return isinstance(kind, type) and issubclass(kind, MovingStatistics)


def create_norm(
    norm: str | NormFactory,
    num_features: int,
    *,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    stored_variance: str | None = None,
) -> nn.Module:
    """Normalisation layer by name, or by a class or function of somebody's own.

    Parameters
    ----------
    norm : str or callable
        A name of ``NORMS`` or ``LOCAL_NORMS``: ``"none"``, ``"batch"``, ``"batch-manual"``, ``"layer"``, ``"group"``,
        ``"instance"``, ``"ghost"``, ``"renorm"`` or ``"batch-manual-local"``. These are nothing; batch normalisation by
        PyTorch or written out; :class:`LayerNorm`, :class:`GroupNorm`, :class:`InstanceNorm`, :class:`GhostBatchNorm`,
        :class:`BatchRenorm`; and batch normalisation written out that sees the part of its own process alone. A class
        or function is called with ``num_features`` alone, and returns the layer.
    num_features : int
        Channels.
    eps : float, default=1e-5
        Added to the variance; 0 or more. Unused by ``"none"`` and by a class or function.
    momentum : float in [0, 1] or None, default=0.1
        Share of the new batch in the moving statistics; None averages all batches alike. Unused by normalisations
        that look at each image by itself and by ``"none"``, which have no moving statistics, and by a class or
        function.
    stored_variance : {"bessel", "biased"}, optional
        Which batch variance the moving one averages. None, the default, leaves each class its own.

    Returns
    -------
    torch.nn.Module
        ``torch.nn.Identity`` for ``"none"``.

    Raises
    ------
    ValueError
        When the name is unknown or another argument out of its range, when ``norm`` is a layer itself, and when
        ``stored_variance`` is given to a normalisation that does not take it.
    TypeError
        When the class or function returns something other than a ``torch.nn.Module``.
    """
    check_known(norm)
    if stored_variance is not None and not has_moving_statistics(norm):
        what = "has no moving statistics" if isinstance(norm, str) else "chooses itself which variance it stores"
        said = repr(norm) if isinstance(norm, str) else norm_name(norm)
        raise ValueError(
            f"norm={said} {what}, so that stored_variance={stored_variance!r} would change nothing; leave it out, or "
            f"choose one of {', '.join(filter(has_moving_statistics, NORMS))}"
        )
    if not isinstance(norm, str):
        return _by_factory(norm, num_features)
    kind = _maker(norm)
    if kind is None:
        return nn.Identity()
    settings = {"eps": eps, "momentum": momentum}
    taken = {name: settings[name] for name in settings if name in inspect.signature(kind).parameters}
    return kind(num_features, **taken | ({} if stored_variance is None else {"stored_variance": stored_variance}))


def _maker(norm: str) -> Callable[..., nn.Module] | None:
    return (NORMS | LOCAL_NORMS).get(norm)


def _by_factory(norm: NormFactory, num_features: int) -> nn.Module:
    try:
        layer = norm(num_features)
    except Exception as error:
        error.add_note(
            f"This was raised by norm={norm_name(norm)}, which was called with the number of channels, "
            f"{num_features}, and has to return a torch.nn.Module."
        )
        raise
    if not isinstance(layer, nn.Module):
        raise TypeError(
            f"norm={norm_name(norm)} returned a {type(layer).__name__} for {num_features} channels; "
            "expected a layer, an instance of torch.nn.Module"
        )
    return layer


def for_rows(layer: nn.Module) -> nn.Module:
    """Layer for rows ``(n, channels)``: ``torch.nn.BatchNorm1d`` for a ``BatchNorm2d``, which refuses rows.

    Parameters
    ----------
    layer : torch.nn.Module
        Newly made layer.

    Returns
    -------
    torch.nn.Module
        The layer itself, unless it is exactly a ``torch.nn.BatchNorm2d``.
    """
    if type(layer) is not nn.BatchNorm2d:
        return layer
    return nn.BatchNorm1d(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
