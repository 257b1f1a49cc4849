"""A browser and a Node to run the page in."""

import os
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def launched():
    """A Chromium that is installed, or else Playwright's own; without any, the test is skipped, or fails in CI."""
    from playwright.sync_api import sync_playwright

    if sys.platform == "linux":  # where the tests have a cache folder of their own
        os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", str(Path.home() / ".cache" / "ms-playwright"))
    with sync_playwright() as playwright:
        installed = next(filter(None, map(shutil.which, BROWSERS)), None)
        found = installed or playwright.chromium.executable_path
        if not Path(found).exists():
            missing("a browser", "chromium (on Debian: apt-get install chromium), or run `playwright install chromium`")
        # Chromium refuses to isolate itself where the user is root, as in containers.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(server):
    """Let a server answer, and give its address."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def node():
    """Node, the one that is installed or the one that Playwright brings."""
    from playwright._impl._driver import compute_driver_executable

    return shutil.which("node") or compute_driver_executable()[0]


def missing(what, remedy):
    """Skip a test for want of something; in CI, fail."""
    reason = f"needs {what}: install {remedy}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
