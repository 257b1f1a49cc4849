"""The page's engine computes what the package computes: outputs, gradients and training, in Node and in a browser.

WebAssembly rounds alike on every processor, so that the errors here are the same everywhere but for the last digits of
PyTorch's float64.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import web_fixtures
from browsers import launched, node, served
from hourglass.lab import explained
from hourglass.models import load_pretrained
from hourglass.playground import page_server
from hourglass.playground.pages import STATIC

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import make_page_data

HERE = Path(__file__).parent
MODULES = {"float32": STATIC / "engine" / "engine.wasm", "float64": HERE / "data" / "engine-float64.wasm"}
NAMES = list(web_fixtures.PLANS)
# In float32, nineteen normalised layers turn rounding into tenths within fifteen steps.
ONE_STEP_IN_FLOAT32 = ("bn-layer", "bn-manual")
# Errors allowed: of the loss (relative), and of outputs and gradients (relative to a tensor's largest value). In
# float64, 3e-10 was measured for normalised networks and 2e-14 for others; the trained network is compared there.
BOUNDS = {
    "float32": {"loss": 1e-3, "outputs": 1e-5, "batch": 1e-5, "gradients": 1e-4},
    "float64": {"loss": 1e-6, "outputs": 1e-9, "batch": 1e-9, "gradients": 1e-9, "trained": 1e-6},
}


@pytest.fixture(scope="module")
def fixtures_of(tmp_path_factory):
    """Function that writes the fixtures of experiments and gives their folder."""

    def folder_of(steps, names=NAMES):
        folder = tmp_path_factory.mktemp("fixtures")
        for name in names:
            web_fixtures.write(name, folder, steps)
        return folder

    return folder_of


def check(errors, dtype):
    assert list(errors) == NAMES
    for name, found in errors.items():
        for what, bound in BOUNDS[dtype].items():
            assert found[what] is not None, f"{name}: {what} is no number"
            assert found[what] < bound, f"{name}: {what} is off by {found[what]}"


def steps_of(dtype, steps):
    """How many steps of each experiment are compared."""
    return {name: 1 if dtype == "float32" and name in ONE_STEP_IN_FLOAT32 else steps for name in NAMES}


@pytest.mark.long
@pytest.mark.parametrize("steps", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_the_engine_computes_what_the_package_does(steps, fixtures_of):
    """In Node with both modules, and in a browser as the page is served. One test, since the fixtures take longest."""
    fixtures = fixtures_of(steps)
    for dtype, module in MODULES.items():
        plans = [f"{name}={number}" for name, number in steps_of(dtype, steps).items()]
        command = [node(), HERE / "web" / "node.mjs", fixtures, STATIC, module, dtype, *plans]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        check(json.loads(done.stdout), dtype)
    check_in_a_browser(fixtures, steps_of("float32", steps))


def check_in_a_browser(fixtures, plans):
    replay = (HERE / "web" / "replay.js").read_text(encoding="utf-8")

    def answer(route):
        name = route.request.url.rsplit("/", 1)[-1]
        content, kind = (replay, "text/javascript") if name == "replay.js" else (None, "application/octet-stream")
        route.fulfill(body=content or (fixtures / name).read_bytes(), content_type=kind)

    with page_server() as server, served(server) as address, launched() as browser:
        page = browser.new_page()
        page.route("**/fixtures/*", answer)
        page.goto(f"{address}/icon.svg")
        script = """async ([plans, page]) => {
            const { replay } = await import(`${page}/fixtures/replay.js`);
            const { Engine } = await import(`${page}/engine/engine.js`);
            const read = async (file) => (await fetch(`${page}/fixtures/${file}`)).arrayBuffer();
            const module = await Engine.module();
            const found = {};
            for (const [name, steps] of Object.entries(plans))
                found[name] = await replay(name, read, page, module, false, steps);
            return found;
        }"""
        check(page.evaluate(script, [plans, address]), "float32")


@pytest.mark.parametrize("dtype", MODULES)
def test_the_module_is_that_of_its_checksum(dtype):
    sums = dict(reversed(line.split()) for line in (HERE.parent / "web" / "checksums").read_text().splitlines())
    assert hashlib.sha256(MODULES[dtype].read_bytes()).hexdigest() == sums.pop(MODULES[dtype].name)
    # Where there is no compiler, a change of the source that was not built is seen here.
    sources = {path.name: path for path in (HERE.parent / "web" / "engine").iterdir()}
    assert set(sources) == {name for name in sums if not name.endswith(".wasm")}
    for name, path in sources.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sums[name], f"{name} was changed: run scripts/web"


def test_the_compiler_makes_the_modules_that_are_committed(tmp_path, fixtures_of):
    """The same bytes with the version that made them; with another, a module that computes the same."""
    if not shutil.which("clang") or not shutil.which("wasm-ld"):
        pytest.skip("needs clang and lld, to build the engine again")
    subprocess.run([HERE.parent / "scripts" / "web", tmp_path], check=True, capture_output=True)
    for dtype, path in MODULES.items():
        built = tmp_path / path.name
        if same_compiler():
            assert built.read_bytes() == path.read_bytes(), f"web/engine has changed since {path.name}: run scripts/web"
        command = [node(), HERE / "web" / "node.mjs", fixtures_of(20, ["dense"]), STATIC, built, dtype, "dense=20"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["dense"]["loss"] < BOUNDS[dtype]["loss"]


def same_compiler():
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout
    wanted = (HERE.parent / "web" / "compiler").read_text().strip()
    return wanted in version


def test_the_networks_of_the_page_are_the_packages(sample):
    """As they are committed, with 16 bits a weight: the denoiser of digits and that of photographs."""
    images = sample.test.images[:10]
    script = """async ([page, images]) => {
        const { photographWeights, trained } = await import(`${page}/app/data.js`);
        const found = {};
        for (const name of ["digits", "dense", "conv"]) {
            const network = await trained(name);
            found[name] = images.map((image) => [...network.forward(image)]);
        }
        return [found, [...(await photographWeights())]];
    }"""
    with page_server() as server, served(server) as address, launched() as browser:
        page = browser.new_page()
        page.goto(f"{address}/icon.svg")
        found, photograph = page.evaluate(script, [address, images.reshape(10, -1).tolist()])
    restored = {name: 1 / (1 + np.exp(-np.array(logits))) for name, logits in found.items()}
    expected = load_pretrained("digits").reconstruct(images).reshape(10, -1)
    np.testing.assert_allclose(restored["digits"], expected, rtol=0, atol=0.01)  # measured: 4e-4
    for name in ("dense", "conv"):
        assert np.square(restored[name] - images.reshape(10, -1)).mean() < 0.03, (
            name
        )  # 0.011 and 0.014; of black images 0.14
    weights = make_page_data.restoration_weights(load_pretrained("photo").network_)
    np.testing.assert_array_equal(np.array(photograph, np.float32), weights.astype(np.float16).astype(np.float32))


def test_the_eight_numbers_are_those_of_the_lab():
    x, gradient = [3.0, 5.0, 2.0, 8.0, 4.0, 6.0, 5.0, 7.0], [1.0, 0.0, -1.0, 0.5, 0.0, -0.5, 0.25, 0.0]
    script = (
        "import { steps } from './batchnorm-steps.js';"
        f"console.log(JSON.stringify(steps({x}, {gradient}, {{ gamma: 1.5, beta: -0.5, epsilon: {explained.EPS} }})))"
    )
    command = [node(), "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=STATIC / "app", capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    columns = [np.array(values)[:, None] for values in (x, gradient)]
    start = np.zeros(1), np.ones(1)
    expected = explained.steps(*columns, np.array([1.5]), np.array([-0.5]), start, bessel=False)
    names = {
        "mean": "mean",
        "variance": "variance",
        "normalised": "normalised",
        "output": "output",
        "ofInput": "grad_input",
        "ofGamma": "grad_weight",
        "ofBeta": "grad_bias",
    }
    for name, other in names.items():
        np.testing.assert_allclose(np.ravel(found[name]), expected[other].ravel(), atol=1e-12, err_msg=name)
    for name in ("normalised", "output"):
        deviation = found["deviation" if name == "normalised" else "outputDeviation"]
        assert np.std(found[name]) == pytest.approx(deviation)


@pytest.mark.parametrize(("size", "level"), [((40, 57), 0.1), ((8, 9), None), ((16, 700), 0.05)], ids=str)
def test_photographs_are_restored_as_by_the_package(size, level, tmp_path):
    """Of sizes that are no multiples of 8, with and without a known level, and in tiles."""
    network = load_pretrained("photo").network_.eval()
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    weights, source, output = (tmp_path / name for name in ("weights", "source", "output"))
    make_page_data.restoration_weights(network).astype("<f4").tofile(weights)
    image.tofile(source)
    words = [STATIC, MODULES["float32"], weights, source, *map(str, size), "none" if level is None else str(level)]
    subprocess.run([node(), HERE / "web" / "restore.mjs", *words, output], check=True, capture_output=True)
    with torch.no_grad():
        known = None if level is None else torch.tensor([level])
        expected = network(torch.from_numpy(image).permute(2, 0, 1)[None], known)[0].permute(1, 2, 0)
    found = np.fromfile(output, np.float32).reshape(image.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)  # measured: 1.3e-6
