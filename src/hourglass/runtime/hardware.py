"""The machine: device, precision, memory allocator."""

import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hourglass.runtime.internals import has_native_bfloat16

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bfloat16", "auto")


def resolve_device(name: str | torch.device) -> torch.device:
    """Device by name.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"} or torch.device
        ``auto`` is CUDA where there is one. A numbered device such as ``cuda:1`` is taken too.

    Returns
    -------
    torch.device
        The CPU or a CUDA device.

    Raises
    ------
    ValueError
        When the name is unknown, or CUDA is asked for and there is none.
    """
    if not isinstance(name, str | torch.device):
        raise ValueError(f"device={name!r} is no name of a device; choose one of {', '.join(DEVICES)}")
    name = str(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.split(":")[0] not in DEVICES[1:]:
        raise ValueError(f"device={name!r} is unknown; choose one of {', '.join(DEVICES)}")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"device={name!r}, but this PyTorch ({torch.__version__}) finds no CUDA device; "
            "use device='cpu', or install a CUDA build and its driver"
        )
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device={name!r} is no device; for example 'cpu' or 'cuda:1'") from error


def resolve_precision(name: str, device: torch.device, *, pays: bool = True) -> str:
    """Precision of the forward pass by name: ``float32`` or ``bfloat16``.

    Parameters
    ----------
    name : {"float32", "bfloat16", "auto"}
        ``auto`` is bfloat16 where the processor computes in it and it pays.
    device : torch.device
        Device that computes.
    pays : bool, default=True
        Whether the network gains from it: the convolutional codecs do, the dense one and the batch-normalised
        classifier, made of small calls, do not.

    Returns
    -------
    {"float32", "bfloat16"}
        Never ``auto``.

    Raises
    ------
    ValueError
        When the name is unknown.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision={name!r} is unknown; choose one of {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    return "bfloat16" if pays and has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16, and does not emulate it.

    Parameters
    ----------
    device : torch.device
        CPU or CUDA device.

    Returns
    -------
    bool
        False where PyTorch would emulate it.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return has_native_bfloat16()


@contextmanager
def deterministic_algorithms(*, wanted: bool = True) -> Iterator[None]:
    """Have PyTorch use algorithms alone that give equal bits for equal inputs, and put its setting back afterwards.

    On the CPU nothing of this package needs it; on CUDA convolutions do.

    Parameters
    ----------
    wanted : bool, default=True
        Without it nothing is set.

    Yields
    ------
    None
        Until the block ends, an operation that has no such algorithm raises RuntimeError.
    """
    if not wanted:
        yield
        return
    # cuBLAS reads it once, when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what is freed instead of giving it back to the kernel.

    Each training step allocates the same tensors again. Where their memory went back to the kernel, it has to be mapped
    and cleared anew: hundreds of thousands of page faults in the first trainings of a process, until glibc's own
    thresholds have adapted to the sizes. It undoes :func:`give_memory_back`.

    Returns
    -------
    bool
        False where there is no glibc; nothing is done then.
    """
    # mmap_threshold's largest admitted value is 32 MiB on 64-bit machines, larger ones are refused.
    global _saving
    _saving = False
    return _set_allocator({_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 1 << 30, _TOP_PAD: 64 << 20})


def give_memory_back() -> bool:
    """Tell glibc's allocator to keep only little of what is freed: the opposite, for work of changing sizes.

    Images of many sizes leave gaps in the heap that do not fit the next image. If all freed memory is kept, the heap
    grows with every image. If none is kept, a network takes twice as long, because the kernel has to supply every
    tensor's memory anew. The setting lies between: tensors below 16 MiB come from the heap, and of its free end at most
    24 MiB are kept. With it the memory of 2,000 images is 1.03 to 1.06 times that of 200.

    Returns
    -------
    bool
        False where there is no glibc; nothing is done then.
    """
    global _saving
    _saving = True
    # Every size has its own kernels. oneDNN would keep 1,024 of them, and PyTorch as many again for each thread. They
    # read this when they make the first.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "16")
    return _set_allocator({_MMAP_THRESHOLD: 16 << 20, _TRIM_THRESHOLD: 24 << 20, _TOP_PAD: 128 << 10, _ARENA_MAX: 1})


def saves_memory() -> bool:
    """Whether this process was last told to give memory back, and not to keep it.

    Returns
    -------
    bool
        False where it was told neither.
    """
    return _saving


_saving = False
# Numbers of mallopt's settings in glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def _set_allocator(settings: dict[int, int]) -> bool:
    libc = _glibc()
    return libc is not None and all(libc.mallopt(option, value) == 1 for option, value in settings.items())


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt  # noqa: B018  # a C library without it raises
    except (OSError, AttributeError):
        return None
    return libc
