"""Errors that say whose mistake it was."""


class OptionError(ValueError):
    """Options that are unknown, out of range or contradict each other; raised before any work is begun.

    The command line exits with 2 for it, as for an option that does not exist, and with 1 for every other error.
    """
