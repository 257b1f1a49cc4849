"""A notebook that is executed for real: what its cells show of figures, data, results and estimators."""

import base64
import io

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

SETUP = """
import hourglass as hg
sample = hg.load("sample")
few = hg.Dataset("few", sample.train[:200], sample.test[:100], validation_size=50)
result = hg.run("dense", dataset=few, n_steps=5, seeds=(0, 1))
"""
# Every kind of object that a cell may end in, and what its output must hold.
CELLS = {
    "hg.plots.image_rows({'digits': few.test.images[:5]})": "image/png",
    "result.runs[0].figures['curve']": "image/png",
    "sample": "text/html",
    "sample.train": "text/html",
    "result": "text/html",
    "result.runs[0]": "text/html",
    "result.runs[0].history": "text/html",
    "result.runs[0].estimator": "text/html",
    "hg.ConvClassifier()": "text/html",
    "hg.layers_of('dense')": "text/html",
    "hg.layers_of('dense').figure()": "image/png",
    "hg.exercises.moments": "text/markdown",
    "hg.exercises.moments.in_language('zh')": "text/markdown",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Output of each cell by its source, from one kernel, which keeps its files in a folder of its own."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = [nbformat.v4.new_code_cell(source) for source in (SETUP, *CELLS)]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        notebook = nbformat.v4.new_notebook(cells=cells)
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute()
    nbformat.write(notebook, folder / "executed.ipynb")
    stored = nbformat.read(folder / "executed.ipynb", as_version=4)
    return {cell.source: cell.outputs for cell in stored.cells}


@pytest.mark.parametrize(("source", "kind"), CELLS.items())
def test_a_cell_shows_more_than_text(outputs, source, kind):
    [output] = outputs[source]
    assert output.output_type == "execute_result"
    assert kind in output.data
    assert len(output.data["text/plain"]) < 400
    assert output.data["text/plain"].count("\n") < 4
    if kind == "image/png":
        with Image.open(io.BytesIO(base64.b64decode(output.data[kind]))) as image:
            assert min(image.size) > 100
            assert np.asarray(image.convert("L")).std() > 10
    else:
        assert "src='http" not in output.data[kind]


def test_the_cells_html_says_what_the_object_holds(outputs):
    html = {source: output[0].data.get("text/html", "") for source, output in outputs.items() if output}
    images = [part.split("'")[0] for part in html["sample"].split("src='data:image/png;base64,")[1:]]
    assert len(images) == 16
    for image in images:
        with Image.open(io.BytesIO(base64.b64decode(image))) as decoded:
            assert decoded.size == (28, 28)
    assert "4,000 training and 1,000 test images of 28 × 28 × 1, 500 held out" in html["sample"]
    for word in ("PSNR (dB)", "mean ± standard deviation", "seed 0", "seed 1", " ± "):
        assert word in html["result"]
    assert "PCA" in html["result.runs[0]"]
