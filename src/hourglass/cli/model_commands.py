"""Commands on models: train, encode, decode, export, info."""

import json
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hourglass.cli.app import Misuse, app, merge, parse_settings, stoppable
from hourglass.cli.shared import (
    READ,
    CheckpointEvery,
    Device,
    Hidden,
    Input,
    Model,
    Output,
    Overwrite,
    Quiet,
    Range,
    Resizing,
    Tally,
    ranges_of,
)


class Colour(StrEnum):
    """Channels to train on."""

    auto = "auto"
    grey = "grey"
    rgb = "rgb"


@app.command(epilog=READ)
def train(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images to learn from.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the model.", show_default=False)],
    noise: Annotated[
        str | None,
        typer.Option(
            help="Learn to remove it: 0.1, a range 0.05-0.3, or KIND:STRENGTH with poisson, salt-and-pepper, masking, "
            "blur. Strengths are relative to the range of the numbers (--range).",
            show_default=False,
        ),
    ] = None,
    self_supervised: Annotated[
        bool, typer.Option("--self-supervised", help="The images are noisy themselves; learn without clean ones.")
    ] = False,
    kind: Annotated[Literal["conv", "dense"], typer.Option("--network", help="Kind of autoencoder.")] = "conv",
    crop: Annotated[
        int | None, typer.Option(help="Train on random cuts of this side.  [default: 64]", show_default=False, min=1)
    ] = None,
    resize: Annotated[
        str | None, typer.Option(metavar="HxW", help="Train on whole images of this size.", show_default=False)
    ] = None,
    cuts: Annotated[int, typer.Option(help="Random cuts from all files together.", min=1)] = 4096,
    colour: Annotated[Colour, typer.Option(help="Channels; auto is rgb where any image has colour.")] = Colour.auto,
    epochs: Annotated[float | None, typer.Option(help="Passes over the images.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of training.", show_default=False, min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, noise and cuts.", min=0)] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter of the estimator; may be repeated."),
    ] = None,
    value_range: Range = "auto",
    hidden: Hidden = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume an unfinished training in --out from its last checkpoint; where there is one, this is so "
            "anyway. A finished one is lengthened by more --epochs or --steps, and else left as it is.",
        ),
    ] = False,
    checkpoint_every: CheckpointEvery = "60s",
    quiet: Quiet = False,
) -> None:
    """Learn a model from a folder of images of any size.

    With --noise or --self-supervised a denoiser, with skip connections and residual unless --set says otherwise;
    without, an autoencoder that compresses.
    """
    from hourglass.atomic import check_writable, locked
    from hourglass.denoising import parse_corruption
    from hourglass.denoising.corruption import Corruption, unclipped
    from hourglass.estimators import ConvAutoencoder, DenseAutoencoder
    from hourglass.imagefiles import find_images, training_images
    from hourglass.imagefiles.ranges import NOTE
    from hourglass.models import save
    from hourglass.training import LOSSES

    if crop is not None and resize is not None:
        raise Misuse("--crop and --resize both say what to train on; give one of them")
    if noise is not None and self_supervised:
        raise Misuse("--self-supervised learns from pictures that are noisy already; leave --noise out")
    if resume and overwrite:
        raise Misuse("--resume goes on with what --overwrite replaces; give one of them")
    ranges = ranges_of(value_range)
    checkpoints, state = out / ".unfinished", out / "state"

    def refuse_to_replace() -> None:
        # Beside what an unfinished training left, the model is an older one, which it was told to overwrite.
        if (out / "model.json").exists() and not overwrite and not checkpoints.exists():
            raise FileExistsError(f"{out} holds a model; --overwrite replaces it")

    finished = resume and (out / "model.json").exists() and not checkpoints.exists()
    if not finished:
        refuse_to_replace()
    check_writable(out)
    size = _size(resize) if resize is not None else (crop or 64, crop or 64)
    parameters = merge(parse_settings(settings or []), epochs=epochs, n_steps=steps)
    parameters |= {"random_state": seed, "device": device, "verbose": int(not quiet)}
    parameters |= {"checkpoint_dir": str(checkpoints), "checkpoint_every": checkpoint_every}
    try:
        if noise is not None:
            parameters["corruption"] = parse_corruption(noise)
        if self_supervised:
            parameters["self_supervised"] = True
        if kind == "conv" and (noise is not None or self_supervised):
            # What a denoiser of photographs needs: see docs/denoising.md.
            wanted = {"skip": True, "channels": (32, 48, 64), "batch_size": 16, "learning_rate": 0.003}
            loss = LOSSES.get(parameters.get("loss", "mse"))
            wanted["residual"] = loss is None or loss.activation is None
            parameters = wanted | {"n_steps": None if epochs else 1500} | parameters
        estimator = (ConvAutoencoder if kind == "conv" else DenseAutoencoder)().set_params(**parameters)
        estimator.check_parameters()
    except ValueError as error:
        raise Misuse(str(error)) from error

    how = f"resized to {size[0]}×{size[1]}" if resize is not None else f"cuts of {size[0]}×{size[1]}"
    prepared = {"prepared": how, "range": value_range} | ({} if resize is not None else {"cuts": cuts})
    if finished and not _is_lengthened(out, estimator, prepared):
        if not quiet:
            typer.echo(f"model: {out} (finished already)")
        return
    found = find_images(folder, beside=out, hidden=hidden)
    with Tally("reading", len(found.paths), quiet=quiet, left_out=found.left_out) as tally:
        taken = training_images(
            found.paths,
            size=size,
            whole=resize is not None,
            count=cuts,
            colour=colour.value,
            ranges=ranges,
            random_state=seed,
            on_outcome=tally.note,
        )
    if not taken.bounded and isinstance(estimator.corruption, Corruption):
        estimator.set_params(corruption=unclipped(estimator.corruption))
    if taken.ranges and not quiet:
        said = ", ".join(f"{low:,.6g} to {high:,.6g}" for low, high in taken.ranges.values())
        typer.echo(f"range: the network sees {said} as 0 to 1", err=True)
    with locked(out):
        if finished:
            shutil.copytree(state, checkpoints)
        refuse_to_replace()
        if checkpoints.exists() and not resume and not quiet:
            typer.echo(f"{out} holds an unfinished training: going on with it", err=True)
        checkpoints.mkdir(exist_ok=True)
        with stoppable("to go on, repeat the command"):
            estimator.fit(taken.images)
        counts = {"files": tally.done, "images": len(taken.images)}
        save(estimator, out, notes=counts | prepared | ({NOTE: taken.ranges} if taken.ranges else {}))
        # From its last checkpoint the training can be lengthened.
        shutil.rmtree(state, ignore_errors=True)
        checkpoints.rename(state)
    if not quiet:
        typer.echo(f"model: {out}")
    tally.exit()


def _is_lengthened(out: Path, estimator: Any, notes: dict[str, Any]) -> bool:
    """Whether the model of a finished training is wanted with more epochs or steps than it has.

    Raises
    ------
    ValueError
        When another model is wanted, or its training cannot be lengthened.
    """
    from sklearn.base import clone

    from hourglass.denoising.corruption import Corruption, unclipped
    from hourglass.models import load_model
    from hourglass.persistence import differences, is_longer

    model, estimator = load_model(out, device="cpu"), clone(estimator)
    kinds = [{"estimator": type(each).__name__} for each in (model, estimator)]
    # Models of older versions do not note everything.
    for each in (model, estimator):  # whether noise is clipped depends on the images
        if isinstance(each.corruption, Corruption):
            each.set_params(corruption=unclipped(each.corruption))
    there = kinds[0] | model.ruling_parameters() | {name: model.notes_.get(name, notes[name]) for name in notes}
    wanted = kinds[1] | estimator.ruling_parameters() | notes
    if is_longer(wanted, there) and (out / "state").is_dir():
        return True
    if said := differences(there, wanted):
        raise ValueError(f"{out} holds another model: {said}; repeat its settings, or choose another --out")
    return False


@app.command()
def encode(
    source: Input,
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="A .npy or .csv file.", show_default=False)],
    model: Model,
    value_range: Range = "auto",
    hidden: Hidden = False,
    resize: Resizing = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write the codes of images as a table, with their file names."""
    from hourglass.atomic import check_writable
    from hourglass.imagefiles import find_images
    from hourglass.imagefiles.codes import CODE_SUFFIXES, encode_files, names_file, write_codes
    from hourglass.models import load_autoencoder

    if codes.suffix not in CODE_SUFFIXES:
        raise Misuse(f"{codes} ends in neither of {', '.join(CODE_SUFFIXES)}")
    for path in (codes, names_file(codes)):
        if path.exists() and not overwrite and (path == codes or codes.suffix == ".npy"):
            raise FileExistsError(f"{path} exists; --overwrite replaces it")
    check_writable(codes.parent)
    estimator = load_autoencoder(model, device=device)
    found, ranges = find_images(source, hidden=hidden), ranges_of(value_range, estimator)
    with Tally("encode", len(found.paths), quiet=quiet, left_out=found.left_out) as tally:
        root = source if source.is_dir() else source.parent
        names, rows = encode_files(estimator, found.paths, root, ranges=ranges, resizing=resize, on_outcome=tally.note)
    if names:
        write_codes(codes, names, rows)
    tally.exit()


@app.command()
def decode(
    codes: Annotated[Path, typer.Argument(metavar="CODES", help="As encode wrote it.", show_default=False)],
    target: Output,
    model: Model,
    overwrite: Overwrite = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Make images (PNG, of 8 bits) from a table of codes."""
    from hourglass.atomic import check_writable
    from hourglass.imagefiles import Outcome
    from hourglass.imagefiles.codes import decode_files, read_codes, write_decoded
    from hourglass.models import load_autoencoder

    estimator = load_autoencoder(model, device=device)
    names, rows = read_codes(codes)
    pictures = list(decode_files(estimator, names, rows, target))
    there = [path for path, _ in pictures if path.exists()]
    if there and not overwrite:
        raise FileExistsError(f"{len(there)} outputs exist already ({there[0]}, …); --overwrite replaces them")
    check_writable(target)
    with Tally("decode", len(pictures), quiet=quiet) as tally:
        for path, pixels in pictures:
            write_decoded(path, pixels)
            tally.note(Outcome(path))


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="To write.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option(help="Folder of a model.  [default: the denoiser of digits]", show_default=False)
    ] = None,
    part: Annotated[Literal["whole", "encoder", "decoder"], typer.Option(help="What to export.")] = "whole",
    takes: Annotated[
        Literal["bytes", "float"], typer.Option("--input", help="Type of the images that the file takes.")
    ] = "bytes",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as an ONNX file, checked against PyTorch; needs the extra onnx."""
    from hourglass.atomic import check_writable
    from hourglass.export import export_onnx
    from hourglass.models import load_model, load_pretrained

    if file.exists() and not overwrite:
        raise FileExistsError(f"{file} exists; --overwrite replaces it")
    check_writable(file.parent)
    estimator: Any = load_pretrained(device="cpu") if model is None else load_model(model, device="cpu")
    said = export_onnx(estimator, file, part=part, takes=takes)
    if not quiet:
        for side in ("inputs", "outputs"):
            for name, (shape, type_) in said[side].items():
                typer.echo(f"{side[:-1]}: {name} {type_} ({', '.join(map(str, shape))})")
        typer.echo(f"largest difference from PyTorch: {said['parity']:.1e}")


@app.command()
def info(
    model: Annotated[
        Path | None, typer.Option(help="Folder of a model.  [default: the denoiser of digits]", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as one line of JSON.")] = False,
) -> None:
    """Say what a model is: network, images, training."""
    from hourglass.models import load_model, load_pretrained

    facts = (load_pretrained(device="cpu") if model is None else load_model(model, device="cpu")).describe()
    if as_json:
        typer.echo(json.dumps(facts))
        return
    inner = [name for value in facts.values() if isinstance(value, dict) for name in value]
    width = max(len(name) for name in (*facts, *(f"  {name}" for name in inner)))
    for name, value in facts.items():
        if not isinstance(value, dict):
            typer.echo(f"{name.replace('_', ' '):<{width}}  {value}")
            continue
        typer.echo(name)
        for key, item in value.items():
            typer.echo(f"{f'  {key}':<{width}}  {item}")


def _size(text: str) -> tuple[int, int]:
    height, x, width = text.lower().partition("x")
    whole = all(side.isascii() and side.isdecimal() and int(side) for side in (height, width))
    if not x or not whole:
        raise Misuse(f"--resize {text!r} is not HEIGHTxWIDTH; for example --resize 64x64")
    return int(height), int(width)
