"""Tensors and metadata to a folder and back: safetensors and JSON, never pickle."""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hourglass.atomic import write_together
from hourglass.renames import FORMAT, FormatError, present_model

# Upper bounds in bytes of `model.json` and of a file of tensors; a real `model.json` has a few thousand.
LARGEST_METADATA = 16 << 20
LARGEST_TENSORS = 16 << 30
TENSORS, METADATA, OPTIMISER = "model.safetensors", "model.json", "optimiser.safetensors"


def write_model(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    *,
    optimiser: Mapping[str, Tensor] | None = None,
) -> None:
    """Write ``model.safetensors`` and ``model.json`` into a folder, which is made where there is none.

    Each file appears whole or not at all; ``model.json`` comes last and names the others' checksums.

    Parameters
    ----------
    folder : path-like
        Files of these names in it are replaced.
    tensors : mapping of str to torch.Tensor
        Tensors by name.
    metadata : mapping
        Anything that JSON can hold.
    optimiser : mapping of str to torch.Tensor, optional
        State of the optimiser, for ``optimiser.safetensors``; without it a file of that name is removed.

    Raises
    ------
    OSError
        When the folder cannot be written.
    TypeError
        When the metadata do not fit into JSON.
    """
    folder = Path(folder)
    stored, checksum = pack_tensors(tensors)
    document = {"format": FORMAT, "sha256": checksum, **metadata}
    state: bytes | None = None
    if optimiser is not None:
        state, document["optimiser_sha256"] = pack_tensors(optimiser)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    contents = {folder / TENSORS: stored} | ({} if state is None else {folder / OPTIMISER: state})
    write_together(contents | {folder / METADATA: text.encode()}, durable=True)
    if state is None:  # that of another model, which was here before
        (folder / OPTIMISER).unlink(missing_ok=True)


def read_model(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor] | None]:
    """Read what :func:`write_model` wrote: tensors, metadata and, where it is there, the optimiser's state.

    Parameters
    ----------
    folder : path-like
        Folder that holds the files.

    Returns
    -------
    tensors : dict of str to torch.Tensor
        On the CPU; all values are finite.
    metadata : dict
        Brought to the present format.
    optimiser : dict of str to torch.Tensor or None
        None where the model came without it or it is damaged.

    Warns
    -----
    UserWarning
        When the optimiser's state is damaged; it is left out.

    Raises
    ------
    FileNotFoundError
        When one of the files is missing.
    ValueError
        When they are damaged, do not belong together, or are of a later format.
    """
    folder = Path(folder)
    for name in (METADATA, TENSORS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}; name a folder that a run or save() wrote")
    if (folder / METADATA).stat().st_size > LARGEST_METADATA:
        raise ValueError(f"{folder / METADATA} has more than {LARGEST_METADATA:,} bytes; it is not a model's")
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        version, checksum = metadata["format"], metadata["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{folder / METADATA} is damaged or not a model's ({error!r}); save the model again"
        ) from error
    try:
        metadata = present_model(metadata)
    except FormatError as error:
        raise ValueError(f"{folder / METADATA}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder / METADATA} has format {version} and lacks what a model has ({error!r}); save the model again"
        ) from error
    tensors = read_tensors(folder / TENSORS, checksum)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{folder / TENSORS} has NaN or infinity in {name}; its training diverged, train it again")
    return tensors, metadata, _read_optimiser(folder / OPTIMISER, metadata.get("optimiser_sha256"))


def _read_optimiser(path: Path, checksum: Any) -> dict[str, Tensor] | None:
    """State of the optimiser; None where the model came without it."""
    if checksum is None or not path.exists():
        return None
    try:
        return read_tensors(path, str(checksum))
    except (OSError, ValueError) as error:
        warnings.warn(f"{error}; the model is whole, and training on will warm up", stacklevel=4)
        return None


def pack_tensors(tensors: Mapping[str, Tensor]) -> tuple[bytes, str]:
    """Tensors as a safetensors file holds them, and the checksum of that.

    Parameters
    ----------
    tensors : mapping of str to torch.Tensor
        On any device, of any layout.

    Returns
    -------
    stored : bytes
        Content of the file.
    checksum : str
        SHA-256 of it in hexadecimal.
    """
    from safetensors.torch import save

    stored: bytes = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    return stored, hashlib.sha256(stored).hexdigest()


def read_tensors(path: Path, checksum: str) -> dict[str, Tensor]:
    """Read what :func:`pack_tensors` made, from a file.

    Parameters
    ----------
    path : Path
        The file.
    checksum : str
        SHA-256 of its content in hexadecimal.

    Returns
    -------
    dict of str to torch.Tensor
        On the CPU.

    Raises
    ------
    OSError
        When it cannot be read.
    ValueError
        When its checksum is another, it is too large, or no such file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file() or path.stat().st_size > LARGEST_TENSORS:
        raise ValueError(f"{path} is no file of up to {LARGEST_TENSORS >> 30} GiB")
    stored = path.read_bytes()
    if hashlib.sha256(stored).hexdigest() != checksum:
        raise ValueError(f"{path} is damaged or another model's: its checksum is not the one that was written down")
    try:
        tensors: dict[str, Tensor] = load(stored)
    except (SafetensorError, KeyError, OverflowError) as error:
        raise ValueError(f"{path} is not a safetensors file ({error})") from error
    return tensors


def is_longer(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether a training is wanted that differs from the one that is there in nothing but more epochs or steps.

    Parameters
    ----------
    wanted : mapping
        Parameters of the wanted training by name.
    there : mapping
        Those of the training that is there.

    Returns
    -------
    bool
        False also where both are equal.
    """
    lengths = [name for name in ("epochs", "n_steps") if name in wanted and wanted[name] != there.get(name)]
    return (
        len(lengths) == 1
        and wanted[lengths[0]] > there.get(lengths[0], math.inf)
        and {**there, lengths[0]: None} == {**wanted, lengths[0]: None}
    )


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What differs between two records, in words; empty where nothing does.

    Parameters
    ----------
    there : mapping
        The record that was stored.
    here : mapping
        The present one.

    Returns
    -------
    str
        For example ``epochs is 3 there, 4 here``.
    """

    def shown(record: Mapping[str, Any], name: str) -> str:
        return repr(record[name]) if name in record else "absent"

    return "; ".join(
        f"{name} is {shown(there, name)} there, {shown(here, name)} here"
        for name in {**there, **here}
        if shown(there, name) != shown(here, name)
    )


def fingerprint(values: NDArray[Any], blocks: Iterable[NDArray[Any]] | None = None) -> str:
    """Text that is equal for equal arrays alone: number and shape, and SHA-256 of these, the type and the content.

    Parameters
    ----------
    values : ndarray
        Array of any type.
    blocks : iterable of ndarray, optional
        The same values, part by part and in order, where they should not be read as a whole.

    Returns
    -------
    str
        For example ``60,000 of 28 × 28, 9f86d081884c7d65``.
    """
    digest = hashlib.sha256(f"{values.shape} {values.dtype.str} ".encode())
    for block in [values] if blocks is None else blocks:
        digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
    return f"{len(values):,} of {' × '.join(map(str, values.shape[1:]))}, {digest.hexdigest()[:16]}"
