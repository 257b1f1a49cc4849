"""Fetching a file from the first of several mirrors that serves it whole."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT = 30  # seconds without a byte
LONGEST = 900  # seconds for one file from one mirror
_CHUNK = 1 << 16
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
    import requests
    from urllib3.exceptions import HTTPError

    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        host = urlsplit(url).hostname
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            partial = Path(folder) / path.name
            try:
                _download(url, partial, f"{path.name} from {host}")
                verify(partial)
            except (requests.RequestException, HTTPError) as error:
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


def _download(url: str, path: Path, description: str) -> None:
    import requests

    until = time.monotonic() + LONGEST
    count = 0
    with requests.get(url, stream=True, timeout=TIMEOUT) as response, path.open("wb") as file:
        response.raise_for_status()
        with _bar(description, int(response.headers.get("Content-Length") or 0)) as advance:
            # What has come, however little, so that the clock is looked at whenever something comes.
            while content := response.raw.read1(_CHUNK, decode_content=True):
                count += len(content)
                if count > LARGEST:
                    raise _ExcessError(f"sent more than {LARGEST >> 20} MiB")
                if time.monotonic() > until:
                    raise _ExcessError(f"took more than {LONGEST} s")
                file.write(content)
                advance(len(content))


@contextlib.contextmanager
def _bar(description: str, total: int) -> Iterator[Callable[[int], object]]:
    """What to call with each number of bytes; a bar where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda count: None
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
        task = bars.add_task(description, total=total or None)
        yield lambda count: bars.update(task, advance=count)
