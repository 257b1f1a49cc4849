"""Fetching a file from the first of several mirrors that serves it whole."""

import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 30  # seconds without a byte
LONGEST = 900  # seconds for one file from one mirror
LARGEST = 64 << 20  # bytes of one file; the largest that is fetched has 26 million


class _ExcessError(OSError):
    """A mirror that sends too much, or for too long."""


def fetch(urls: Sequence[str], path: Path, verify: Callable[[Path], object]) -> None:
    """Download to ``path``, which appears only whole and verified.

    Parameters
    ----------
    urls : sequence of str
        The same file on several mirrors, tried in order.
    path : Path
        Where it goes; its folder is made.
    verify : callable
        Of the downloaded file's path; raises ValueError or OSError when it is not the right one.

    Raises
    ------
    ConnectionError
        When no mirror served it; says why for each.
    """
    import pooch
    import requests

    # Its log speaks of every file on standard error; errors reach the user from here.
    pooch.get_logger().setLevel(logging.CRITICAL)
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        host = urlsplit(url).hostname
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            partial = Path(folder) / path.name
            try:
                with _bar(f"{path.name} from {host}") as bar:
                    download = pooch.HTTPDownloader(progressbar=_Guard(bar), timeout=TIMEOUT, chunk_size=1 << 16)
                    download(url, str(partial), None)
                verify(partial)
            except requests.RequestException as error:
                failures.append(f"{host}: {_reason(error)}")
            except (OSError, ValueError) as error:
                failures.append(f"{host}: {str(error).replace(str(partial), 'its file')}")
            else:
                partial.replace(path)
                return
    raise ConnectionError("; ".join(failures))


def _reason(error: Exception) -> str:
    """What went wrong, without the address and the object names that requests adds."""
    if type(error).__name__ == "TooManyRedirects":
        return "redirected without end"
    if "timed out" in str(error):
        return "timed out"
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    return {"ConnectionError": "no connection", "ConnectTimeout": "timed out", "ReadTimeout": "timed out"}.get(
        type(error).__name__, type(error).__name__
    )


class _Guard:
    """A progress bar, as pooch expects one, that ends a download which goes over its bounds."""

    def __init__(self, bar: "_Bar | None") -> None:
        self._bar = bar
        self._bytes, self._until = 0, time.monotonic() + LONGEST
        self.total = 0

    def update(self, count: int) -> None:
        self._bytes += count
        if self._bytes > LARGEST:
            raise _ExcessError(f"sent more than {LARGEST >> 20} MiB")
        if time.monotonic() > self._until:
            raise _ExcessError(f"took more than {LONGEST} s")
        if self._bar is not None:
            self._bar.total = self.total
            self._bar.update(count)

    def reset(self) -> None:
        if self._bar is not None:
            self._bar.reset()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Bar:
    """What pooch expects of a progress bar, shown by rich."""

    def __init__(self, bars: Any, task: Any) -> None:
        self._bars, self._task = bars, task
        self.total = 0

    def update(self, count: int) -> None:
        self._bars.update(self._task, advance=count, total=self.total or None)

    def reset(self) -> None:
        self._bars.reset(self._task)

    def close(self) -> None:
        self._bars.stop_task(self._task)


@contextlib.contextmanager
def _bar(description: str) -> Iterator[_Bar | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield _Bar(bars, bars.add_task(description, total=None))
