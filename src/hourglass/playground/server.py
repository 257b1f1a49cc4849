"""A web server for the page, on this machine."""

import ipaddress
import os
import socket
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from hourglass.playground.pages import STATIC

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""Content-security policy of the page: it can reach no other host, and runs no code but its own files."""


class _PageHandler(SimpleHTTPRequestHandler):
    """Sends the files of one folder, with their types and the policy, and lists no folder."""

    # The system's table may lack these types or name others, and browsers refuse modules of another type.
    extensions_map = {  # noqa: RUF012 - the base class declares it so
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".svg": "image/svg+xml",
        ".png": "image/png",
        ".csv": "text/csv; charset=utf-8",
        ".wasm": "application/wasm",
        "": "application/octet-stream",
    }

    def __init__(self, *args: Any, local: bool, **kwargs: Any) -> None:
        self.local = local  # whether only this machine can reach the server
        super().__init__(*args, **kwargs)

    def send_head(self) -> IO[bytes] | None:  # type: ignore[override]  # the base class names its types more exactly
        # A page of another site could have its own name stand for this machine (DNS rebinding), and read what is here.
        if self.local and not _is_local(self.headers.get("Host", "")):
            self.send_error(403, "Only this machine's names are answered")
            return None
        return super().send_head()

    def end_headers(self) -> None:
        # The files may change with the package; browsers ask each time, and are answered "not modified".
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Content-Security-Policy", POLICY + "; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def list_directory(self, path: str | os.PathLike[str]) -> IO[bytes] | None:  # type: ignore[override]  # it sends none
        self.send_error(404, "File not found")
        return None

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        pass


class _Server6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def _is_local(host: str) -> bool:
    """Whether a host, with or without a port, names this machine and no network."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"


def page_server(
    folder: str | os.PathLike[str] | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> ThreadingHTTPServer:
    """Return a server of the page, which answers once its method ``serve_forever`` runs.

    Parameters
    ----------
    folder : path-like, optional
        Folder with the page; by default the one in the package.
    host : str, default="127.0.0.1"
        Address to listen at. The default cannot be reached from other machines; ``"0.0.0.0"`` can.
    port : int, default=0
        Port from 0 to 65535; 0 takes a free one, which is ``server_address[1]``.

    Returns
    -------
    http.server.ThreadingHTTPServer
        The server; ``server_close`` frees its port.

    Raises
    ------
    FileNotFoundError
        When the folder has no ``index.html``.
    OSError
        When the port is taken, or the address is not this machine's.
    """
    folder = STATIC if folder is None else folder
    if not (Path(folder) / "index.html").is_file():
        raise FileNotFoundError(f"{folder} has no index.html; write the page with `hourglass page {folder}`")
    handler = partial(_PageHandler, directory=os.fspath(folder), local=_is_local(f"[{host}]" if ":" in host else host))
    try:
        return (_Server6 if ":" in host else ThreadingHTTPServer)((host, port), handler)
    except OSError as error:
        where = f"{host}, port {port}" if port else host
        reason = error.strerror or error
        raise OSError(f"cannot listen on {where} ({reason}); choose another port or host (--port, --host)") from error
