"""AVIF and HEIC: newly coded images among the file's own items and properties."""

import io
import struct
from abc import abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hourglass.imagefiles.image import COLOURS, Numbers, Plane, Raw
from hourglass.imagefiles.raster.containers import Part, box
from hourglass.imagefiles.raster.items import Items, read_items, with_items
from hourglass.imagefiles.raster.stills import LossyStill, closest
from hourglass.imagefiles.reading import UnservedError, check_size, orientation_of, reading, turned_back

_IMAGES = ("av01", "hvc1", "hev1", "avc1", "jpeg", "j2k1", "vvc1", "unci", "grid", "iovl", "iden")
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_SUBSAMPLING = {0: "400", 1: "420", 2: "422", 3: "444"}


class _Heif(LossyStill):
    """A file of one image, coded whole or as a grid of tiles.

    Alpha, thumbnails, gain maps, depth maps and metadata are items of their own, and are kept byte for byte.
    """

    coded: ClassVar[str]
    configuration: ClassVar[str]
    rounds: ClassVar[int]

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(path, content)
        with reading(path):
            self.items = read_items(content)
            self._look()

    def _look(self) -> None:
        items, primary = self.items, self.items.primary
        self.tiles = items.referred("dimg", primary) if items.types[primary] == "grid" else [primary]
        for tile in self.tiles:
            if items.types.get(tile) != self.coded:
                kind = items.types.get(tile, "nothing")
                raise UnservedError(
                    f"is {self.format} whose image is coded as {kind}, which is not served; save it anew first"
                )
        self._check_others()
        self.size = items.size(primary)
        check_size(*self.size, 3)
        if items.types[primary] == "grid":
            form = ">BBII" if items.data[primary][1] & 1 else ">BBHH"
            rows, columns, width, height = struct.unpack_from(form, items.data[primary], 2)
            self.rows, self.columns = rows + 1, columns + 1
            tile_size = items.size(self.tiles[0])
            if (width, height) != self.size or len(self.tiles) != self.rows * self.columns:
                raise ValueError("its grid of tiles has other numbers than its header")
            if any(items.size(other) != tile_size for other in self.tiles):
                raise UnservedError(f"is {self.format} with tiles of several sizes; save it anew first")
        else:
            self.rows = self.columns = 1
        self.bits, self.subsampling = self._coding(items.property(self.tiles[0], self.configuration) or b"")
        self.alpha = any(
            any(name in (items.property(start, "auxC") or b"") for name in _ALPHA)
            for kind, start, ends in items.references
            if kind == "auxl" and primary in ends
        )
        if any(kind == "prem" for kind, _, _ in items.references):
            raise UnservedError("has colours that are multiplied by alpha; save it with ordinary alpha first")
        if any(part.name in ("lsel", "a1op", "a1lx") for part in items.properties):
            raise UnservedError("is stored in layers, which is not served; save it anew first")
        self.orientation = self._orientation()

    def _check_others(self) -> None:
        """Raise unless all other images belong to the primary one, which then shows the same as they do."""
        items = self.items
        known = {items.primary, *self.tiles, *items.hidden}
        known.update(start for kind, start, _ in items.references if kind in ("auxl", "thmb"))
        for kind, start, ends in items.references:
            if kind == "dimg" and (start in known or items.types.get(start) == "tmap"):
                known.update(ends)
        others = sum(kind in _IMAGES and item not in known for item, kind in items.types.items())
        if others:
            raise UnservedError(f"holds {others + 1} images; save each as a file of its own first")

    @abstractmethod
    def _coding(self, configuration: bytes) -> tuple[int, str]:
        """Bits and chroma subsampling of the coded images."""

    def _orientation(self) -> int:
        """The EXIF orientation that the turns and mirrors among the image's properties amount to."""
        places: NDArray[np.int64] = np.arange(4).reshape(2, 2)
        for i in self.items.owned.get(self.items.primary, []):
            part = self.items.properties[i]
            if part.name == "irot":
                places = np.rot90(places, part.body[0] & 3)
            elif part.name == "imir":
                places = places[:, ::-1] if part.body[0] & 1 else places[::-1]
        return orientation_of(places)

    def decode(self) -> Plane:
        values = self._decoded(self.content)
        colours = ("grey",) if values.shape[2] < 3 else COLOURS
        roles = (*colours, "alpha") if self.alpha else colours
        declared = None if self.bits == 8 else (0.0, 2.0**self.bits - 1)
        return Plane(values, roles, Numbers(values.dtype, self.bits, declared))

    @abstractmethod
    def _decoded(self, content: bytes) -> Raw:
        """Pixels as stored, not turned, of shape (h, w, bands)."""

    @abstractmethod
    def _coded(self, tile: Raw) -> bytes:
        """A file of one image without alpha."""

    def encode(self, values: Raw) -> bytes:
        colours = values[..., :-1] if self.alpha else values
        content, _ = closest(colours, self._with_colours, self._shown, rounds=self.rounds)
        return content

    def _shown(self, content: bytes) -> Raw:
        values = self._decoded(content)
        return values[..., :-1] if self.alpha else values

    def _with_colours(self, colours: Raw) -> bytes:
        data: dict[int, bytes] = {}
        properties: dict[int, Part] = {}
        for item, tile in zip(self.tiles, self._cut(colours), strict=True):
            new = read_items(self._coded(tile))
            if new.size(new.primary) != self.items.size(item):
                raise UnservedError(f"has an image of {self.items.size(item)} pixels, which its encoder cannot write")
            data[item] = new.data[new.primary]
            place, found = self.items.place(item, self.configuration), new.place(new.primary, self.configuration)
            if place is None or found is None:
                raise ValueError("an image has no configuration")
            part = new.properties[found]
            same = part.raw == self.items.properties[place].raw
            if properties.setdefault(place, part).raw != part.raw or (self._is_shared(place) and not same):
                raise UnservedError(
                    "has images that share a header which the new ones cannot share; save it anew first"
                )
            properties |= self._colour(item, new)
        properties |= self._colour(self.items.primary, new)
        return with_items(self.items, data, properties)

    def _is_shared(self, place: int) -> bool:
        return any(place in owned for item, owned in self.items.owned.items() if item not in self.tiles)

    def _cut(self, colours: Raw) -> Iterator[Raw]:
        """The tiles, each at the size at which it is coded: repeated edges beyond the image."""
        width, height = self.items.size(self.tiles[0])
        for row in range(self.rows):
            for column in range(self.columns):
                tile = colours[row * height : (row + 1) * height, column * width : (column + 1) * width]
                missing = [(0, height - tile.shape[0]), (0, width - tile.shape[1]), (0, 0)]
                yield np.ascontiguousarray(np.pad(tile, missing, mode="edge"))

    def _colour(self, item: int, new: Items) -> dict[int, Part]:
        """Colour properties of the file, with the conversion to luma and chroma that the new image was coded with."""
        written = next((part.body for part in new.properties if part.name == "colr" and part.body[:4] == b"nclx"), None)
        changed = {}
        for place in self.items.owned.get(item, []):
            part = self.items.properties[place]
            if part.name == "colr" and part.body[:4] == b"nclx" and written:
                changed[place] = box("colr", part.body[:8] + written[8:])
        return changed


class Avif(_Heif):
    """AVIF of 8, 10 or 12 bits."""

    format = "AVIF"
    coded, configuration, rounds = "av01", "av1C", 2

    def _coding(self, configuration: bytes) -> tuple[int, str]:
        flags = configuration[2]
        bits = 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
        return bits, "400" if flags & 0x10 else {0: "444", 2: "422", 3: "420"}[flags >> 2 & 3]

    def _decoded(self, content: bytes) -> Raw:
        from imagecodecs import avif_decode

        values = np.asarray(avif_decode(content))
        values = values.reshape(self.size[1], self.size[0], -1)
        if self.subsampling == "400" and values.shape[2] >= 3:
            values = values[..., [0, *range(3, values.shape[2])]]
        return values

    def _coded(self, tile: Raw) -> bytes:
        from imagecodecs import avif_encode

        lossless = self._matrix() == 0 and self.subsampling == "444"
        if self.bits == 8 and not lossless:
            return _avif_by_pillow(tile, self.subsampling)
        return bytes(
            avif_encode(
                tile[..., 0] if tile.shape[2] == 1 else tile,
                level=100 if lossless else 99,
                speed=6,
                bitspersample=self.bits,
                pixelformat=self.subsampling,
                matrix=0 if lossless else 6,
            )
        )

    def _matrix(self) -> int | None:
        """How the file converts RGB to luma and chroma, by ISO 23091-2; 0 is not at all."""
        colour = self.items.property(self.items.primary, "colr") or b""
        return struct.unpack_from(">H", colour, 8)[0] if colour[:4] == b"nclx" else None


def _avif_by_pillow(tile: Raw, subsampling: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    image = Image.fromarray(tile[..., 0] if tile.shape[2] == 1 else tile)
    image.save(out, "AVIF", quality=100, subsampling=":".join(subsampling))
    return out.getvalue()


class Heic(_Heif):
    """HEIC of 8 bits, which needs the package pillow-heif."""

    format = "HEIC"
    coded, configuration, rounds = "hvc1", "hvcC", 1

    def __init__(self, path: Path, content: bytes) -> None:
        try:
            import pillow_heif  # noqa: F401 - only to say here, before anything is read, that it is missing
        except ImportError as error:
            raise ImportError(
                f"{path} is a HEIC image, which needs the package pillow-heif: pip install 'hourglass-lab[heif]'"
            ) from error
        super().__init__(path, content)
        with reading(path):
            self._check_crop()

    def _check_crop(self) -> None:
        """Raise when the library shows a part of the image that does not begin at its corner."""
        crop = self.items.property(self.items.primary, "clap")
        if crop:
            numbers = struct.unpack(">4IiIiI", crop)
            across, down, right, below = (Fraction(*numbers[i : i + 2]) for i in range(0, 8, 2))
            if right + (self.size[0] - across) / 2 or below + (self.size[1] - down) / 2:
                raise UnservedError("shows a part of a larger image (clean aperture); save it cropped first")

    def _coding(self, configuration: bytes) -> tuple[int, str]:
        bits = 8 + (configuration[17] & 7)
        if bits != 8 or configuration[18] & 7:
            raise UnservedError(f"is HEIC of {bits} bits, which is not served; convert it to a PNG of 16 bits first")
        return bits, _SUBSAMPLING[configuration[16] & 3]

    def _decoded(self, content: bytes) -> Raw:
        import pillow_heif

        file = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=False)
        # The library turns the image upright.
        upright: NDArray[Any] = np.asarray(file[file.primary_index].to_pillow())
        upright = upright.reshape(*upright.shape[:2], -1)
        values = turned_back(upright, self.orientation)
        if values.dtype != np.uint8:
            raise ValueError(f"it was decoded as {values.dtype}")
        if self.subsampling == "400" and values.shape[2] >= 3:
            values = values[..., [0, *range(3, values.shape[2])]]
        if not self.alpha and values.shape[2] in (2, 4):
            values = values[..., :-1]
        return values

    def _coded(self, tile: Raw) -> bytes:
        import pillow_heif
        from PIL import Image

        out = io.BytesIO()
        image = Image.fromarray(tile[..., 0] if tile.shape[2] == 1 else tile)
        options = {} if self.subsampling == "400" else {"chroma": self.subsampling}
        pillow_heif.from_pillow(image).save(out, quality=-1, **options)
        return out.getvalue()
