"""What may import what, what is public, and how fast the package is found."""

import ast
import importlib
import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "hourglass"
# Rooms from the lowest; a module imports from its own room and from lower ones.
FLOORS = [
    {"__init__", "atomic", "errors", "markup", "pretrained", "renames", "runtime"},
    {"data", "figure", "lessons", "metrics", "persistence", "playground"},
    {"denoising", "nn", "training"},
    {"exercises", "plots"},
    {"estimators"},
    {"export", "imagefiles", "models"},
    {"array_denoising", "packing"},
    {"experiments", "image_training"},
    {"inspection"},
    {"lab"},
    {"report"},
    {"running"},
    {"cli"},
    {"__main__"},
]
# `training` takes any module: it knows neither networks nor images. `nn` can be used alone. `data` holds no network.
STRANGERS = {
    ("training", "nn"), ("training", "data"), ("nn", "training"), ("nn", "data"), ("data", "persistence"),
}  # fmt: skip


def floor(room):
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def is_module(dotted):
    path = SOURCE / dotted.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports():
    """Pairs of module and imported module, both dotted without the package's own name."""
    for path in SOURCE.rglob("*.py"):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hourglass":
                inside = node.module.removeprefix("hourglass").removeprefix(".")
                for name in node.names:
                    deeper = f"{inside}.{name.name}".removeprefix(".")
                    yield module, deeper if is_module(deeper) else inside or "__init__"
            elif isinstance(node, ast.Import):
                for name in node.names:
                    if name.name.split(".")[0] == "hourglass":
                        yield module, name.name.removeprefix("hourglass").removeprefix(".") or "__init__"


def test_every_room_has_a_floor():
    rooms = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == set().union(*FLOORS)


def test_imports_run_downwards():
    for module, imported in imports():
        room, other = module.split(".")[0], imported.split(".")[0]
        if room == "__init__":
            continue  # It finds everything lazily.
        assert room == other or floor(other) < floor(room), f"{module} imports {imported}"
        assert (room, other) not in STRANGERS, f"{module} imports {imported}"


def test_no_circle_of_modules():
    graph = {}
    for module, imported in imports():
        if module != "__init__" and imported != "__init__":
            home = imported if not (SOURCE / imported.replace(".", "/")).is_dir() else f"{imported}.__init__"
            graph.setdefault(module, set()).add(home)

    done = set()

    def visit(module, above):
        assert module not in above, f"a circle: {' -> '.join([*above, module])}"
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, [*above, module])
            done.add(module)

    for module in graph:
        visit(module, [])


def test_the_figure_of_the_design_has_the_levels_in_this_order():
    figure = (SOURCE.parents[1] / "docs" / "rooms.svg").read_text(encoding="utf-8")
    drawn_names = re.findall(r'y="(\d+)" class="name">([^<]+)<', figure)
    places = {name: int(y) for y, names in drawn_names for name in names.split(" · ")}
    assert places.keys() == set().union(*FLOORS) - {"__init__", "__main__"}
    heights = [{places[name] for name in rooms if name in places} for rooms in FLOORS]
    drawn = [height for level in heights for height in level]
    assert all(len(level) <= 1 for level in heights)
    assert all(upper > lower for upper, lower in itertools.pairwise(drawn))


def test_no_module_imports_a_private_name_of_another():
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.level or node.module.split(".")[0] == "hourglass"):
                private = [name.name for name in node.names if re.match(r"_(?!_)", name.name)]
                assert not private, f"{path.name}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "name",
    [
        "hourglass",
        *(
            f"hourglass.{room}"
            for room in (
                "data",
                "denoising",
                "exercises",
                "nn",
                "training",
                "estimators",
                "imagefiles",
                "image_training",
                "experiments",
                "packing",
            )
        ),
    ],
)
def test_public_names_are_sorted_and_there(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n)) == module.__all__
    for public in module.__all__:
        assert getattr(module, public) is not None
        assert public in dir(module)


def test_unknown_names_are_attribute_errors():
    import hourglass

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hourglass.nothing  # noqa: B018


@pytest.mark.parametrize("statement", ["import hourglass", "from hourglass import cli"])
def test_importing_is_light(statement):
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"torch", "matplotlib", "sklearn", "skimage", "numpy", "pandas"}


ESTIMATORS = {
    "Autoencoder", "Classification", "Classifier", "ConvAutoencoder", "ConvClassifier", "DenseAutoencoder",
    "ImageDenoiser", "LevelAwareDenoiser", "NetworkEstimator", "Reconstruction",
}  # fmt: skip


def test_no_switch_on_an_estimators_class():
    """Estimators say themselves what they are, so that one from elsewhere needs no change in the package."""
    for path in SOURCE.rglob("*.py"):
        if path.parent.name == "estimators":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
                names = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
                names |= {each.attr for each in ast.walk(node.args[1]) if isinstance(each, ast.Attribute)}
                assert not names & ESTIMATORS, f"{path.name}:{node.lineno}: {ast.unparse(node)}"


def test_no_switch_on_a_losses_name():
    """What a loss asks for is in its entry of LOSSES."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                sides = (node.left, *node.comparators)
                parts = [part for side in sides for part in (side, *getattr(side, "elts", ()))]  # tuples, lists, sets
                values = {part.value for part in parts if isinstance(part, ast.Constant)}
                assert not values & {"bce", "mae", "mse", "softmax"}, f"{path.name}:{node.lineno}: {ast.unparse(node)}"


def test_files_are_short():
    root = SOURCE.parents[1]
    paths = [path for name in ("src", "tests", "tools", "benchmarks") for path in (root / name).rglob("*.py")]
    long = {path.name: count for path in paths if (count := len(path.read_text().splitlines())) > 350}
    assert not long


def commands():
    """Every command of the command line, as a function of the syntax tree."""
    for path in (SOURCE / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any("app.command" in ast.unparse(d) for d in node.decorator_list):
                yield node


def test_commands_are_thin():
    lines = {node.name: node.end_lineno - node.body[1].lineno + 1 for node in commands()}
    assert len(lines) > 13
    assert not {name: count for name, count in lines.items() if count > 40}


def test_no_two_files_have_one_name():
    names = Counter(path.name for path in SOURCE.rglob("*.py") if path.stem not in ("__init__", "__main__"))
    assert not [name for name, count in names.items() if count > 1]


def test_nothing_executes_what_it_reads():
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"pickle", "joblib", "dill"}, path
            if isinstance(node, ast.ImportFrom):
                # joblib runs processes here; what it reads from files it would unpickle.
                assert node.module not in {"pickle", "dill"}, path
                assert "load" not in {alias.name for alias in node.names if node.module == "joblib"}, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"eval", "exec", "torch.load", "pickle.load", "pickle.loads"}, path
