"""What a stranger installs, and what the README promises of it."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
NEEDED_TO_BUILD = [
    "src",
    "tests",
    "scripts",
    "tools",
    "docs",
    "examples",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "constraints.txt",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist of a copy, and the wheel made from that sdist."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in [*NEEDED_TO_BUILD, "CHANGELOG.md", "CONTRIBUTING.md"]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [sdist], [wheel] = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def test_the_sdist_holds_all_that_the_tests_need(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in NEEDED_TO_BUILD:
        path = ROOT / name
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        wanted = {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
        assert not wanted - names


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    package = ROOT / "src"
    assert names == {
        str(file.relative_to(package))
        for file in (package / "hourglass").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {"hourglass/py.typed", "hourglass/templates/report.html.jinja"} <= names


def test_the_installed_wheel_lists_the_experiments(built, tmp_path):
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*pip, "--disable-pip-version-check", str(built[1])], check=True)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    where = [sys.executable, "-c", "import hourglass; print(hourglass.__file__)"]
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": True}
    assert subprocess.run(where, **run).stdout.startswith(str(tmp_path))
    listed = subprocess.run([tmp_path / "site" / "bin" / "hourglass", "list"], **run)
    for name in ("dense", "conv", "denoise", "bn-none", "bn-layer", "bn-manual"):
        assert re.search(rf"^\s*{name}\b", listed.stdout, re.MULTILINE)


def test_the_readmes_python_runs(tmp_path, monkeypatch, few):
    """The snippets word for word, the second on less data and for fewer steps."""
    import hourglass as hg

    first, snippet = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hg, "load", lambda _name: few, raising=False)
    run = hg.run
    monkeypatch.setattr(hg, "run", lambda name, **asked: run(name, dataset=few, n_steps=2, **asked), raising=False)
    noisy = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    names: dict[str, object] = {"hourglass": hg, "noisy": noisy}
    exec(compile(first, "README.md", "exec"), names)  # noqa: S102 - our own text
    assert names["restored"].shape == noisy.shape
    assert names["restored"].dtype == noisy.dtype
    exec(compile(snippet, "README.md", "exec"), names)  # noqa: S102 - our own text
    assert names["codes"].shape == (len(few.test), 128)
    assert names["restored"].shape == few.test.images.shape
