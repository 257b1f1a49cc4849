"""The README in two languages: the same commands, which the program takes, and of which the short ones run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import hourglass as hg
from hourglass.cli.app import app

ROOT = Path(__file__).parents[1]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")}
PROGRAM = re.compile(r"(?:\.venv/bin/)?hourglass (.*)")
# These take longer than 20 seconds.
LONG = ("train", "run", "serve")  # the last one until it is stopped


def blocks(text):
    """Language and lines of each block of code, without comments."""
    found = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    return [(language, [line.split("#")[0].rstrip() for line in code.splitlines()]) for language, code in found]


def commands():
    lines = [line for language, code in blocks(TEXTS["README.md"]) if language == "sh" for line in code]
    return [match[1] for line in lines if (match := PROGRAM.fullmatch(line))]


def test_both_languages_have_the_same_code_sections_and_links():
    english, chinese = TEXTS.values()
    assert blocks(english) == blocks(chinese)
    targets = [
        [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("README")]
        for text in (english, chinese)
    ]
    assert sorted(targets[0]) == sorted(targets[1])
    assert all((ROOT / link).exists() for link in targets[0] if "://" not in link)
    headings = [re.findall(r"^(#+) ", text, re.MULTILINE) for text in (english, chinese)]
    assert headings[0] == headings[1]
    inline = [
        set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))) for text in (english, chinese)
    ]
    assert inline[0] == inline[1]


@pytest.mark.parametrize("line", commands())
def test_a_command_is_taken(line):
    program = get_command(app)
    words = shlex.split(line)
    with program.make_context("hourglass", list(words), resilient_parsing=True) as outer:
        name, command, rest = program.resolve_command(outer, words)
        with command.make_context(name, rest, parent=outer) as context:
            assert context.command.name == words[0]


def test_the_short_commands_run(hourglass, tmp_path, monkeypatch, few):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "noisy", "clean", "images"):
        Path(name).mkdir()
        for i in range(2):
            pixels = np.random.default_rng(i).integers(0, 256, (40, 50), np.uint8)
            Image.fromarray(pixels).save(f"{name}/{i}.png")
    for name, noise in (("model", 0.1), ("autoencoder", None)):
        estimator = hg.ConvAutoencoder(channels=(4,), noise=noise, n_steps=3, random_state=0)
        hg.save(estimator.fit(few.train.images), name)
    ran = set()
    for line in commands():
        words = shlex.split(line)
        if words[0] in LONG:
            continue
        code, _, err = hourglass(*words)
        assert code == 0, f"{line}\n{err}"
        ran.add(words[0])
    assert {
        "denoise",
        "evaluate",
        "reconstruct",
        "encode",
        "export",
        "list",
        "explain",
        "lessons",
        "inspect",
        "page",
    } <= ran
