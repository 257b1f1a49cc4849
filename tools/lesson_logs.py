"""Write the measured logs of the lesson on batch normalisation from the folders of its runs.

Usage: ``hourglass run bn-none bn-layer bn-manual --dataset mnist --seeds 5 --out DIR``, then
``.venv/bin/python tools/lesson_logs.py DIR``. What the notebooks printed, in the same table, stays as it is.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path

from hourglass.lessons.training_logs import COLUMNS, LOGS, PRINTED
from hourglass.training import History

Row = dict[str, str]


def rows_of(folder: Path) -> Iterator[Row]:
    """Select the rows of one run.

    Parameters
    ----------
    folder : Path
        Folder of a finished run of a classifier.

    Yields
    ------
    dict of str to str
        Row of the table, by column.
    """
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    history = History.read_csv(folder / "history.csv")

    def row(images: str, step: int, loss: float | None, accuracy: float) -> Row:
        shown = ("" if loss is None else f"{loss:.5f}", f"{accuracy:.5f}")
        return dict(zip(COLUMNS, (result["experiment"], folder.name, images, str(step), *shown), strict=True))

    for images in ("training", "validation"):
        steps, losses = history.series(f"{images}_loss")
        _, accuracies = history.series(f"{images}_accuracy")
        for step, loss, accuracy in zip(steps.tolist(), losses.tolist(), accuracies.tolist(), strict=True):
            yield row(images, step, loss, accuracy)
    metrics = result["metrics"]
    yield row("test", len(history), metrics["test_loss"], metrics["test_accuracy"])
    yield row("one by one", len(history), None, metrics["single_image_accuracy"])


def main() -> None:
    """Replace the measured rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the runs")
    folder: Path = parser.parse_args().folder
    with LOGS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == PRINTED]
    experiments = dict.fromkeys(row["experiment"] for row in rows)
    for experiment in experiments:
        for run in sorted((folder / f"{experiment}-classic").glob("seed-*")):
            rows += rows_of(run)
    with LOGS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
