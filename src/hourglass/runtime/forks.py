"""Forked processes, which have none of their parent's threads: PyTorch computes on one there."""

import os
import sys
import warnings

_forked = False


def register_fork_handler() -> None:
    """Let every process that is forked from this one compute on one thread, on systems that can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_use_one_thread)


def compute_alone_after_fork() -> None:
    """Set PyTorch to one thread again where a forked process has asked for more, and warn.

    The threads of OpenMP do not survive a fork: an operation that shares its work with them would wait for ever.
    Processes that are to use several threads have to be started by multiprocessing's ``"spawn"`` or ``"forkserver"``.
    """
    if not _forked:
        return
    import torch

    if (threads := torch.get_num_threads()) > 1:
        warnings.warn(
            f"this process was forked, and PyTorch would wait for ever for the {threads} threads that it was set to; "
            "it computes on one. Start processes that use several with 'spawn' or 'forkserver'",
            RuntimeWarning,
            stacklevel=3,
        )
        torch.set_num_threads(1)


def _use_one_thread() -> None:
    """Let PyTorch compute on one thread, as its own data loader does in its workers."""
    global _forked
    _forked = True
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):  # it may be half imported
        torch.set_num_threads(1)
