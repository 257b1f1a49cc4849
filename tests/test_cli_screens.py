"""What the screens of the command line show: help, list."""

import json
import re
import statistics
from pathlib import Path

import pytest

from hourglass.cli.app import app
from hourglass.cli.listing import MINUTES, how_long
from hourglass.cli.screens import PANELS
from hourglass.experiments import EXPERIMENTS, RECIPES
from hourglass.lab import STUDIES

RESULTS = Path(__file__).parents[1] / "docs" / "results"
COMMANDS = [name for names in PANELS.values() for name in names]


@pytest.fixture(params=[60, 80, 120])
def width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def test_every_command_stands_under_one_heading(hourglass):
    registered = {each.name or each.callback.__name__ for each in app.registered_commands}
    assert sorted(COMMANDS) == sorted(registered)
    out = hourglass("--help")[1]
    headings = re.findall(r"^(\S.*):$", out, re.MULTILINE)
    assert headings == ["Options", *PANELS]
    places = [out.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


def test_the_first_screen_cuts_no_sentence(hourglass, width):
    out = hourglass("--help")[1]
    assert "..." not in out.partition("\n")[2]
    assert "…" not in out
    described = re.findall(r"^  [a-z]+ {2,}(.*(?:\n {10,}.*)*)", out.partition("Images:")[2], re.MULTILINE)
    assert len(described) == len(COMMANDS)
    assert all(text.endswith(".") for text in described)
    assert max(map(len, out.splitlines())) <= width


@pytest.mark.parametrize("name", COMMANDS)
def test_the_screens_of_commands_are_in_plain_words(name, hourglass, width):
    out = hourglass(name, "--help")[1]
    for jargon in ("<path>", "<int range>", "<float>", "<str>", "list[", "{", "}"):
        assert jargon not in out
    assert max(map(len, out.splitlines())) <= width
    assert all(text.endswith((".", "]", ")")) for text in re.findall(r"^  -.*? {2,}(\S.*(?:\n {12,}.*)*)", out, re.M))


def test_list_separates_experiments_from_studies_and_says_how_long_each_takes(hourglass, width):
    out = hourglass("list")[1]
    names = re.findall(r"^([a-z][a-z-]+)  ", out, re.MULTILINE)
    assert names == [*EXPERIMENTS, *STUDIES]
    assert out.index("Experiments") < out.index("dense") < out.index("Studies") < out.index("bn-fair")
    flat = " ".join(out.split())
    assert "12 minutes (with the fast recipe 2 minutes)" in flat
    assert "AMD EPYC" in flat
    assert max(map(len, out.splitlines())) <= width


def test_times_are_those_of_the_committed_results():
    measured = {}
    for name in EXPERIMENTS:
        for recipe in RECIPES:
            files = RESULTS.glob(f"{name}-{recipe}/seed-*/result.json")
            seconds = [json.loads(path.read_text())["timing"]["total_seconds"] for path in files]
            measured[name, recipe] = statistics.fmean(seconds) / 60
    for name, study in STUDIES.items():
        rows = [json.loads(line) for line in (RESULTS / "lab" / name / "cells.jsonl").read_text().splitlines()]
        seeds = 1 + max(row["cell"]["seed"] for row in rows)
        measured[name, ""] = sum(row["seconds"] for row in rows) / 60 / 2 * study.seeds / seeds
    said = {(name, recipe): minutes for name, each in MINUTES.items() for recipe, minutes in each.items()}
    assert said.keys() == measured.keys()
    for key, minutes in measured.items():
        assert said[key] == pytest.approx(minutes, abs=0.07 if key[1] else 0.5), key


def test_times_in_words():
    assert how_long("dense") == "under a minute"
    assert how_long("conv") == "4 minutes (with the fast recipe under a minute)"
    assert how_long("bn-fair") == "68 minutes"
