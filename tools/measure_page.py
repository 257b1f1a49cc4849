"""Measures what docs/playground.md says of the page's speed, in a browser, and takes the screenshots beside it.

Usage: python tools/measure_page.py [PART ...]

The parts are speed and screenshots, by default both: three minutes on two quiet cores. Writes docs/results/page.json
and docs/playground/*.png. It needs Chromium, the one that is installed or Playwright's.
"""

import gzip
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import hourglass as hg
from hourglass.experiments.environment import environment
from hourglass.inspection import write_inspection
from hourglass.playground import page_server, write_page

DOCS = Path(__file__).parents[1] / "docs"
OUT, SHOTS = DOCS / "results" / "page.json", DOCS / "playground"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
READY = "section:not([hidden]):not([aria-busy])"
STROKES = 20
STEPS = 100
TABS = ("denoise", "code", "normalisation", "batch", "photograph", "inspect")
SHOWN = 1250  # pixels of a screenshot's height
COLOURS = 256  # of a screenshot, which keeps it small

# Moves a pen, and measures from the event to the frame after the one that shows the result.
STROKE = """async ([x, y]) => {
    const canvas = document.querySelector("canvas.drawing");
    const box = canvas.getBoundingClientRect();
    const place = { clientX: box.left + x * box.width, clientY: box.top + y * box.height, isPrimary: true };
    const before = canvas.toDataURL();
    const start = performance.now();
    canvas.dispatchEvent(new PointerEvent("pointermove", place));
    const computing = performance.now() - start;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const shown = performance.now() - start;
    if (canvas.toDataURL() === before) throw new Error("the stroke changed nothing");
    const network = Number(document.querySelector("#panel-denoise").dataset.milliseconds);
    return [network, computing, shown];
}"""
# Trains one network in a worker by itself; returns the seconds of all steps, with their evaluations.
TRAINING = """([steps, norm]) => new Promise((done, failed) => {
    const settings = { norm, layers: 20, activation: "relu", start: "glorot", deviation: 0.05, optimiser: "adam",
        learningRate: 0.002, batchSize: 64, momentum: 0.99, seed: 0 };
    const worker = new Worker(new URL("workers/training.js", location.href), { type: "module" });
    let start;
    worker.onmessage = ({ data }) => {
        if (data.type === "failed") failed(data.message);
        if (start === undefined) {
            start = performance.now();
            worker.postMessage({ type: "run", until: steps });
        } else if (data.step >= steps) {
            worker.terminate();
            done((performance.now() - start) / 1000);
        }
    };
    worker.postMessage({ type: "start", settings, run: 1 });
})"""


def main() -> None:
    """Measure the parts that are asked for."""
    parts = sys.argv[1:] or ["speed", "screenshots"]
    with sync_playwright() as playwright:
        installed = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        if "speed" in parts:
            OUT.write_text(json.dumps(speed(browser), indent=1) + "\n", encoding="utf-8")
        if "screenshots" in parts:
            screenshots(browser)
        browser.close()


def speed(browser: Browser) -> dict[str, Any]:
    """Times of a stroke, of training and of a photograph, and the size of the page."""
    found: dict[str, Any] = {
        "processor": environment(hg.load_pretrained("digits"))["processor"],
        "cores": os.cpu_count(),
        "browser": f"Chromium {browser.version}",
        "date": datetime.now(UTC).date().isoformat(),
        "steps": STEPS,
        "strokes": STROKES,
    }
    with opened(browser, "tab=denoise") as page:
        page.get_by_role("button", name="Clear").click()
        page.locator("canvas.drawing").hover(position={"x": 60, "y": 40})
        page.mouse.down()
        times = [page.evaluate(STROKE, [0.3 + i / 60, 0.2 + i / 40]) for i in range(STROKES)]
        names = ("network_ms", "computing_ms", "shown_ms")
        for name, column in zip(names, zip(*times, strict=True), strict=True):
            found[name] = round(statistics.median(column), 2)
        found["one_network_s"] = [round(page.evaluate(TRAINING, [STEPS, "batch"]), 2) for _ in range(5)]
    seconds = []
    for _ in range(3):
        with opened(browser, f"tab=normalisation&steps={STEPS}") as page:
            start = page.evaluate("performance.now()")
            page.get_by_role("button", name="Run").click()
            page.wait_for_selector(f"#panel-normalisation[data-steps='{STEPS}']", timeout=120_000)
            seconds.append(round((page.evaluate("performance.now()") - start) / 1000, 2))
    found["three_networks_s"] = seconds
    with tempfile.TemporaryDirectory() as folder, opened(browser, "tab=photograph") as page:
        file = Path(folder) / "image.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)).save(file)
        page.set_input_files("#photograph-file", file)
        page.wait_for_selector("#panel-photograph[data-restored]", timeout=60_000)
        times_of_photograph = []
        for i in range(5):
            page.get_by_label("Noise level").fill(str(0.1 + i / 50))
            page.wait_for_selector(f"#panel-photograph[data-restored='{i + 2}']", timeout=60_000)
            times_of_photograph.append(float(page.get_attribute("#panel-photograph", "data-seconds") or "nan"))
        found["photograph_s"] = round(statistics.median(times_of_photograph), 3)
        files = write_page(Path(folder) / "page")
        found["bytes"] = sum(len(gzip.compress(path.read_bytes())) for path in files)
    return found


def screenshots(browser: Browser) -> None:
    """Every tab, wide in light and dark, and as on a phone."""
    SHOTS.mkdir(exist_ok=True)
    data = hg.load("sample")
    model = hg.EXPERIMENTS["dense"].configure("fast").set_params(random_state=0).fit(data.train.images)
    with tempfile.TemporaryDirectory() as folder:
        names = [f"digit {i}" for i in range(len(data.test.images))]
        write_inspection(model, data.test.images, folder, names=names, labels=data.test.labels)
        for tab in TABS:
            with opened(browser, f"tab={tab}", Path(folder)) as page:
                prepare(page, tab)
                shoot(page, f"{tab}-light")
                page.emulate_media(color_scheme="dark")
                shoot(page, f"{tab}-dark")
                page.emulate_media(color_scheme="light")
                page.set_viewport_size({"width": 390, "height": 844})
                shoot(page, f"{tab}-phone")


def prepare(page: Page, tab: str) -> None:
    """Let a tab show what it is for."""
    if tab == "denoise":
        page.get_by_text("What every layer computes").click()
        page.get_by_role("button", name="encoder, stage 2, map 3", exact=True).click()
    if tab == "normalisation":
        page.get_by_role("button", name="Run").click()
        while int(page.get_attribute("#panel-normalisation", "data-steps") or 0) < 450:
            page.wait_for_timeout(500)
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Run").wait_for()
    if tab == "photograph":
        page.get_by_role("button", name="Try an example").click()
        page.wait_for_selector("#panel-photograph[data-restored]", timeout=60_000)


def shoot(page: Page, name: str) -> None:
    """Take a screenshot of the upper part of the page."""
    page.wait_for_timeout(500)
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    shot.crop((0, 0, shot.width, min(shot.height, SHOWN))).convert("RGB").quantize(
        COLOURS, Image.Quantize.MAXCOVERAGE
    ).save(SHOTS / f"{name}.png", optimize=True)


@contextmanager
def opened(browser: Browser, state: str, folder: Path | None = None) -> Iterator[Page]:
    """Open the page of the package, or of a folder, served by this process."""
    with page_server(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/#{state}")
        page.wait_for_selector(READY)
        yield page
        page.close()
        server.shutdown()


if __name__ == "__main__":
    main()
