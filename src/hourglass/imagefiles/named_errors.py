"""Errors that name a file as the user knows it, and not the copy with which the work is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path | str, local: Path) -> Iterator[None]:
    """Context in which errors name a file, and not its copy in a temporary folder.

    Parameters
    ----------
    path : Path or str
        Name of the file, as the user knows it.
    local : Path
        The copy.

    Raises
    ------
    OSError, ValueError
        Those that the context raised, with the name in place of that of the copy.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        if str(local) not in str(error):
            raise
        if isinstance(error, OSError) and error.errno is not None:
            known = (part for part in (error.strerror, error.filename) if part is not None)
            raise OSError(error.errno, *(str(part).replace(str(local), str(path)) for part in known)) from error
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(str(error).replace(str(local), str(path))) from error
