"""The page of reliability names tests that are there, and figures that say that nothing was lost."""

import importlib.util
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_test_of_the_catalogue_is_there():
    spec = importlib.util.spec_from_file_location("reliability_page", ROOT / "tools" / "reliability_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for rows in module.catalogue().values():
        for _, _, test in rows:
            file, name, case = re.fullmatch(r"(\w+\.py)::(\w+)(?:\[(\w+)\])?", test).groups()
            source = (ROOT / "tests" / file).read_text()
            assert f"def {name}(" in source, test
            assert case is None or f"def {case}(" in source, test


def test_the_figures_hold():
    torture = json.loads((ROOT / "docs" / "results" / "torture.json").read_text())
    assert len(torture["kills"]) >= 50
    assert {kill["name"] for kill in torture["kills"]} == {"conv", "denoise", "bn-manual"}
    assert all(kill["killed"] and kill["equal"] for kill in torture["kills"])
    assert sum(kill["from"] > 0 for kill in torture["kills"]) >= 25
    assert len(torture["damages"]) >= 20
    assert all(damage["fell_back"] and damage["equal"] for damage in torture["damages"])
    assert len(torture["disks"]) >= 20
    assert all(disk["kept"] and disk["equal"] for disk in torture["disks"])
    fuzz = json.loads((ROOT / "docs" / "results" / "fuzz.json").read_text())
    assert sum(row["inputs"] for row in fuzz.values()) >= 1_000_000
    assert not any(row["crashes"] or row["hangs"] for row in fuzz.values())
