"""Fresh random crops of image files: which, from where, and how they are held out."""

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg
from hourglass.imagefiles import ImageFolderSource, training_images

SIZE = (8, 10)


@pytest.fixture
def paths(tmp_path):
    random = np.random.default_rng(0)
    found = []
    for i, shape in enumerate([(30, 40), (20, 20, 3), (5, 6), (60, 30)]):
        found.append(tmp_path / f"{i}.png")
        # Each file has numbers of its own, so that a crop says where it comes from.
        Image.fromarray(random.integers(i * 60, i * 60 + 60, shape, dtype=np.uint8)).save(found[-1])
    return found


def crops(source, index, step):
    return source.take(torch.as_tensor(index), step)[0]


def test_crops_are_fresh_and_follow_seed_step_and_index(paths):
    source = ImageFolderSource(paths, size=SIZE, count=40, random_state=3)
    assert source.image_shape == (*SIZE, 3)
    assert len(source) == 40
    first = crops(source, range(40), 1)
    assert first.shape == (40, 3, *SIZE)
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(first, crops(source, range(40), 1))
    assert torch.equal(first[[7, 3]], crops(source, [7, 3], 1))
    again = ImageFolderSource(paths, size=SIZE, count=40, random_state=3)
    assert torch.equal(first, crops(again, range(40), 1))
    assert again.fingerprint == source.fingerprint
    for other in (crops(source, range(40), 2), crops(ImageFolderSource(paths, size=SIZE, count=40), range(40), 1)):
        # All but those of the smallest file, which has few places, differ.
        assert sum(not torch.equal(a, b) for a, b in zip(first, other, strict=True)) >= 25
    prints = [
        ImageFolderSource(paths, size=SIZE, count=40).fingerprint,
        ImageFolderSource(paths[:3], size=SIZE, count=40, random_state=3).fingerprint,
        ImageFolderSource(paths, size=SIZE, count=80, random_state=3).fingerprint,
    ]
    assert source.fingerprint not in prints


def test_small_images_are_extended_by_reflection(paths):
    with Image.open(paths[2]) as image:
        pixels = np.asarray(image)
    [crop] = crops(ImageFolderSource([paths[2]], size=SIZE, count=1), [0], 1).numpy() * 255
    np.testing.assert_allclose(crop[0], np.pad(pixels, ((0, 3), (0, 4)), mode="symmetric"), atol=1e-4)


def test_each_file_is_seen_equally_often_and_everywhere(paths):
    source = ImageFolderSource(paths, size=SIZE, count=40, colour="grey")
    assert source.image_shape == (*SIZE, 1)
    means = crops(source, range(40), 5).mean((1, 2, 3)) * 255 // 60
    assert means.tolist() == [i % 4 for i in range(40)]
    with Image.open(paths[3]) as image:
        pixels = np.asarray(image)
    places = np.lib.stride_tricks.sliding_window_view(pixels, SIZE).reshape(-1, *SIZE)
    found = set()
    for step in range(300):
        crop = (crops(source, [3], step)[0, 0].numpy() * 255).round()
        [place] = np.flatnonzero((places == crop).all((1, 2)))
        found.add(int(place))
    rows, columns = np.divmod(sorted(found), 30 - SIZE[1] + 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 52, 0, 20)
    assert len(found) > 200


def test_ranges_and_failures_are_those_of_training_images(paths, tmp_path):
    np.save(tmp_path / "deep.npy", np.linspace(-3, 500, 900, dtype=np.float32).reshape(30, 30))
    (tmp_path / "text.png").write_text("nothing")
    every = [*paths, tmp_path / "deep.npy", tmp_path / "text.png"]
    seen, known = [], []
    source = ImageFolderSource(every, size=SIZE, count=12, on_outcome=seen.append)
    taken = training_images(every, size=SIZE, on_outcome=known.append)
    assert source.ranges == taken.ranges
    assert source.bounded == taken.bounded
    assert len(source) == 2 * len(taken)
    assert [(each.source, str(each.error)) for each in seen] == [(each.source, str(each.error)) for each in known]
    assert ImageFolderSource(paths, size=SIZE).bounded
    low, high = source.value_range()
    blocks = crops(source, range(len(source)), 9)
    assert low <= blocks.min()
    assert blocks.max() <= high
    with pytest.raises(ValueError, match="is a text file"):
        ImageFolderSource(every, size=SIZE)
    with pytest.raises(ValueError, match="no image could be read"):
        ImageFolderSource(every[-1:], size=SIZE, on_outcome=seen.append)


def test_holes_are_filled_and_images_without_data_left_out(tmp_path):
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    values[5:9, 5:9] = np.nan
    np.save(tmp_path / "holes.npy", values)
    np.save(tmp_path / "none.npy", np.full((20, 20), np.nan, np.float32))
    source = ImageFolderSource([tmp_path / "holes.npy", tmp_path / "none.npy"], size=SIZE, count=20)
    assert len(source) == 10
    assert crops(source, range(10), 1).isfinite().all()


def test_too_many_images_are_refused_with_the_remedy(paths, monkeypatch):
    monkeypatch.setattr("hourglass.imagefiles.crop_source._memory_available", lambda: 4000.0)
    with pytest.raises(MemoryError, match=r"after 2 of 4 files .* give fewer or smaller files"):
        ImageFolderSource(paths, size=SIZE)


def test_images_stay_in_the_types_of_their_files(paths):
    source = ImageFolderSource(paths, size=SIZE)
    assert {image.values.dtype for images in source._images for image in images} == {np.dtype(np.uint8)}


def test_it_trains_holds_out_whole_files_and_resumes(paths, tmp_path, monkeypatch):
    source = ImageFolderSource(paths, size=SIZE, count=40, colour="grey")
    settings = {"channels": (4,), "n_steps": 8, "batch_size": 10, "random_state": 0, "report_every": 4}
    ae = hg.ConvAutoencoder(validation_fraction=0.25, **settings)
    held = []
    subset = ImageFolderSource.subset
    monkeypatch.setattr(ImageFolderSource, "subset", lambda self, rows: (held.append(rows), subset(self, rows))[1])
    ae.fit(source)
    assert ae.image_shape_ == source.image_shape
    out, kept = ({int(i) % 4 for i in rows} for rows in held)
    assert len(out) == 1
    assert out | kept == {0, 1, 2, 3}
    assert not out & kept
    assert "validation_loss" in ae.history_.reports[8]
    with pytest.raises(ValueError, match="of 1 files leaves none"):
        hg.ConvAutoencoder(validation_fraction=0.25, **settings).fit(ImageFolderSource(paths[:1], size=SIZE))
    whole = hg.ConvAutoencoder(**settings).fit(source)
    part = hg.ConvAutoencoder(**settings | {"n_steps": 8}, checkpoint_dir=tmp_path / "c", checkpoint_every="3steps")
    from hourglass.training import Trainer

    step = Trainer.step

    def failing(self, index):
        if self.state.step == 5:
            raise RuntimeError("stop")
        return step(self, index)

    monkeypatch.setattr(Trainer, "step", failing)
    with pytest.raises(RuntimeError, match="stop"):
        part.fit(source)
    monkeypatch.setattr(Trainer, "step", step)
    part.fit(source)
    assert part.history_.loss == whole.history_.loss
