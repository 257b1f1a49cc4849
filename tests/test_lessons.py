"""The lessons: both languages say everything, the notebooks are those of the texts, and their code runs."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from hourglass.lessons import LANGUAGES, LESSONS, notebook, write_lessons

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from build_lessons import faults, is_current, read_text

CHINESE = re.compile(r"[\u4e00-\u9fff]")
# The lengths of each lesson's trainings, and the shorter ones for every day. Every cell still runs in a kernel;
# `test_every_notebook_runs` trains as long as the lesson says.
SHORTER = {
    "1-dense-autoencoder": {
        "epochs=20": "epochs=5",
        '"n_steps": 1000': '"n_steps": 50',
        "(0, 20, 1000)": "(0, 20, 30)",
        '"n_steps": 600': '"n_steps": 20',
    },
    "2-convolutional-autoencoder": {
        "epochs=3": "epochs=1",
        '"n_steps": 400': '"n_steps": 40',
        '"n_steps": 250': '"n_steps": 10',
        '"n_steps": 600': '"n_steps": 20',
    },
    "3-denoising": {
        "steps=800": "steps=40",
        "step % 200": "step % 20",
        "range(1, 61)": "range(1, 4)",
        "range(240)": "range(10)",
        '"n_steps": 300': '"n_steps": 10',
        '"n_steps": 200': '"n_steps": 10',
    },
    "4-batch-normalisation": {
        "measure, steps=100": "measure, steps=20",
        "steps=60": "steps=20",
        "n_steps=90": "n_steps=10",
        "steps=40": "steps=20",
        "gamma, steps=100": "gamma, steps=20",
        "range(10, 101, 10)": "range(10, 21, 10)",
    },
}
LONG = ("2-convolutional-autoencoder", "3-denoising", "4-batch-normalisation")
"""Lessons that are left to the slow tests even with short trainings."""


@pytest.fixture(params=LESSONS)
def name(request):
    return request.param


def test_every_passage_is_there_in_both_languages(name):
    text = read_text(name)
    assert list(faults(text)) == []
    by_language = {
        language: [cell.source for cell in text.cells if cell.metadata.get("lang") == language]
        for language in LANGUAGES
    }
    assert not any(map(CHINESE.search, by_language["en"]))
    for english, chinese in zip(by_language["en"], by_language["zh"], strict=True):
        assert CHINESE.search(chinese)
        for mark in ("#", "**", "$", "<details>", "`"):  # headings, questions, formulas, discussions, code
            assert (mark in english) == (mark in chinese), (mark, english)
        assert len(re.findall(r"<details>", english)) == len(re.findall("<details>", chinese))
        assert len(re.findall(r"^#+ ", english, re.M)) == len(re.findall(r"^#+ ", chinese, re.M))


def test_the_notebook_is_that_of_the_text(name):
    assert is_current(name, read_text(name)), f"run scripts/lessons {name}"


def test_languages_have_the_same_code_and_outputs_without_errors(name):
    english, chinese = (notebook(name, language) for language in LANGUAGES)
    code = [
        [(cell["source"], cell["outputs"]) for cell in each["cells"] if cell["cell_type"] == "code"]
        for each in (english, chinese)
    ]
    assert code[0] == code[1]
    outputs = [output for _, each in code[0] for output in each]
    assert any(output["output_type"] == "display_data" for output in outputs)
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert len(english["cells"]) == len(chinese["cells"])
    assert not any("lang" in cell["metadata"] for cell in english["cells"] + chinese["cells"])


def test_each_question_asks_before_a_cell_and_is_discussed_after_it(name):
    text = "\n".join(
        "".join(cell["source"]) if cell["cell_type"] == "markdown" else "(cell)" for cell in notebook(name)["cells"]
    )
    _, *questions = re.split(r"\*\*Question \d+\.\*\*", text)
    assert len(questions) >= 5
    for asked in questions:
        words = asked.partition("<details>")[0]
        # A question without a cell behind it asks for a change of one above.
        assert "(cell)" in words or re.search(r"Replace|replace|swap|Change|change|Mend", words), words
        assert "<details>" in asked


def run(name, language, folder, shorter=None):
    [path] = [path for path in write_lessons(folder, language, overwrite=True) if path.stem == name]
    read = nbformat.read(path, as_version=4)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs = []
    for length, short in (shorter or {}).items():
        [trains] = [cell for cell in code if length in cell.source]
        trains.source = trains.source.replace(length, short)
    NotebookClient(read, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    assert any(cell.get("outputs") for cell in read.cells)


@pytest.mark.long
@pytest.mark.parametrize(
    "lesson", [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in SHORTER]
)
def test_the_english_notebook_runs_with_short_trainings(lesson, tmp_path):
    run(lesson, "en", tmp_path, SHORTER[lesson])


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_notebook_runs(name, language, tmp_path):
    run(name, language, tmp_path)


def test_a_passage_without_its_counterpart_is_found():
    def cell(language, source="words"):
        return nbformat.v4.new_markdown_cell(source, metadata={"lang": language})

    code = nbformat.v4.new_code_cell("1 + 1")

    def found(*cells):
        return list(faults(nbformat.v4.new_notebook(cells=list(cells))))

    assert found(cell("en"), cell("zh"), code, cell("en"), cell("zh")) == []
    assert found(cell("en"), cell("zh"), cell("en"), cell("zh")) == []
    for wrong in (
        [cell("en"), code],
        [cell("zh"), cell("en")],
        [cell("en"), cell("en"), cell("zh")],
        [cell("en"), cell("zh"), code, cell("en")],
        [cell("en"), code, cell("zh")],
        [cell("de"), cell("zh")],
    ):
        assert found(*wrong)


def test_the_command_writes_them_and_keeps_what_a_learner_wrote(hourglass, tmp_path):
    code, out, err = hourglass("lessons", tmp_path / "lessons", "--language", "zh")
    assert (code, err) == (0, "")
    paths = [tmp_path / "lessons" / f"{name}.ipynb" for name in LESSONS]
    assert out.splitlines()[:-1] == [str(path) for path in paths]
    assert "jupyter lab" in out.splitlines()[-1]
    paths[1].write_text("mine")
    paths[0].unlink()
    code, out, err = hourglass("lessons", tmp_path / "lessons")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "--overwrite" in err
    assert not paths[0].exists()
    assert paths[1].read_text() == "mine"
    assert hourglass("lessons", tmp_path / "lessons", "--overwrite")[0] == 0
    nbformat.validate(nbformat.read(paths[0], as_version=4))
    assert json.loads(paths[0].read_text(encoding="utf-8")) == notebook(LESSONS[0])


def test_what_there_is_none_of_is_refused(hourglass):
    assert hourglass("lessons", "x", "--language", "fr")[0] == 2
    with pytest.raises(ValueError, match="language 'fr' is unknown; choose one of en, zh"):
        notebook(LESSONS[0], "fr")
    with pytest.raises(ValueError, match="lesson '5' is unknown"):
        notebook("5")
