"""Items of a HEIF file (AVIF, HEIC; ISO 23008-12): coded images, their descriptions, and the places of their data."""

import struct
from dataclasses import dataclass, field

from hourglass.imagefiles.raster.containers import Part, box, box_parts, file_boxes, joined
from hourglass.imagefiles.reading import UnservedError


@dataclass
class Items:
    """The content of the box ``meta`` of a file.

    Parameters
    ----------
    boxes : list of Part
        Top-level boxes of the file.
    meta : list of Part
        Boxes in the box ``meta``.
    primary : int, default=0
        Number of the primary item: the image that is shown.
    types : dict of int to str, optional
        Type of each item, such as ``av01``, ``hvc1``, ``grid``, ``Exif`` or ``mime``, by its number.
    hidden : set of int, optional
        Numbers of the items that are not shown on their own.
    references : list of tuple of (str, int, list of int), optional
        Type, source and targets of each reference: ``("auxl", 2, [1])`` means that item 2 is auxiliary to item 1.
    properties : list of Part, optional
        All properties; several items can share one.
    owned : dict of int to list of int, optional
        Indices in ``properties`` of each item's properties, in order, by number of the item.
    data : dict of int to bytes, optional
        Data of each item, by its number.
    """

    boxes: list[Part]
    meta: list[Part]
    primary: int = 0
    types: dict[int, str] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    references: list[tuple[str, int, list[int]]] = field(default_factory=list)
    properties: list[Part] = field(default_factory=list)
    owned: dict[int, list[int]] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)

    def place(self, item: int, name: str) -> int | None:
        """Find the index of an item's property.

        Parameters
        ----------
        item : int
            Number of the item.
        name : str
            Name of the property, such as ``ispe``.

        Returns
        -------
        int or None
            Index in ``properties`` of the first such property; None if there is none.
        """
        return next((i for i in self.owned.get(item, []) if self.properties[i].name == name), None)

    def property(self, item: int, name: str) -> bytes | None:
        """Return the content of an item's property.

        Parameters
        ----------
        item : int
            Number of the item.
        name : str
            Name of the property, such as ``ispe``.

        Returns
        -------
        bytes or None
            The content; None if the item has no such property.
        """
        place = self.place(item, name)
        return None if place is None else self.properties[place].body

    def size(self, item: int) -> tuple[int, int]:
        """Return the size of an image item.

        Parameters
        ----------
        item : int
            Number of the item.

        Returns
        -------
        width : int
            Width in pixels.
        height : int
            Height in pixels.

        Raises
        ------
        ValueError
            When the file does not give the size.
        """
        body = self.property(item, "ispe")
        if body is None:
            raise ValueError(f"its image {item} has no size")
        width, height = struct.unpack_from(">II", body, 4)
        return width, height

    def referred(self, kind: str, item: int) -> list[int]:
        """Return the targets of an item's references.

        Parameters
        ----------
        kind : str
            Type of the references, such as ``dimg``.
        item : int
            Number of the item from which the references start.

        Returns
        -------
        list of int
            Numbers of the items to which they lead.
        """
        return [to for name, start, ends in self.references if name == kind and start == item for to in ends]


def read_items(content: bytes) -> Items:
    """Read the items of a file.

    Parameters
    ----------
    content : bytes
        Content of the file.

    Returns
    -------
    Items
        The items.

    Raises
    ------
    UnservedError
        When the file is a sequence of images, or stores its images in a way that is not supported.
    """
    boxes = file_boxes(content)
    metas = [part for part in boxes if part.name == "meta"]
    if "moov" in [part.name for part in boxes]:
        raise UnservedError("is a sequence of images; save its frames as single images first")
    if len(metas) != 1:
        raise ValueError(f"it has {len(metas)} boxes meta")
    meta = box_parts(metas[0].body[4:])
    items = Items(boxes, meta)
    bodies = {part.name: part.body for part in meta}
    items.primary = struct.unpack_from(">I" if bodies["pitm"][0] else ">H", bodies["pitm"], 4)[0]
    for part in box_parts(bodies["iinf"][8 if bodies["iinf"][0] else 6 :]):
        version, flags = part.body[0], part.body[3]
        number, _, kind = struct.unpack_from(">IH4s" if version >= 3 else ">HH4s", part.body, 4)
        items.types[number] = kind.decode("latin-1")
        if flags & 1:
            items.hidden.add(number)
    if "iref" in bodies:
        form = ">I" if bodies["iref"][0] else ">H"
        for part in box_parts(bodies["iref"][4:]):
            width = struct.calcsize(form)
            numbers = [n for (n,) in struct.iter_unpack(form, part.body[:width] + part.body[width + 2 :])]
            items.references.append((part.name, numbers[0], numbers[1:]))
    _read_properties(items, box_parts(bodies["iprp"]))
    _read_data(items, content, bodies)
    if items.primary not in items.types:
        raise ValueError("it has no primary image")
    return items


def _read_properties(items: Items, parts: list[Part]) -> None:
    for part in parts:
        if part.name == "ipco":
            items.properties = box_parts(part.body)
    for part in parts:
        if part.name != "ipma":
            continue
        body, place = part.body, 8
        wide, long = body[3] & 1, body[0] >= 1
        for _ in range(struct.unpack_from(">I", body, 4)[0]):
            number, count = struct.unpack_from(">IB" if long else ">HB", body, place)
            place += 5 if long else 3
            found = struct.unpack_from(f">{count}{'H' if wide else 'B'}", body, place)
            place += count * (1 + wide)
            # The highest bit says that a property is essential; 0 is none.
            places = [(n & (0x7FFF if wide else 0x7F)) - 1 for n in found]
            if any(not -1 <= n < len(items.properties) for n in places):
                raise ValueError("its properties are numbered beyond their end")
            items.owned.setdefault(number, []).extend(n for n in places if n >= 0)


def _read_data(items: Items, content: bytes, bodies: dict[str, bytes]) -> None:
    body, idat = bodies["iloc"], bodies.get("idat", b"")
    version, sizes = body[0], struct.unpack_from(">H", body, 4)[0]
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    place = 6

    def number(size: int) -> int:
        nonlocal place
        if place + size > len(body):
            raise ValueError("its list of places is cut off")
        place += size
        return int.from_bytes(body[place - size : place], "big")

    for _ in range(number(4 if version >= 2 else 2)):
        item = number(4 if version >= 2 else 2)
        method = number(2) & 15 if version else 0
        if number(2) or method > 1:
            raise UnservedError("keeps its data in other files or in other images; save it anew first")
        base = number(base_size)
        pieces = []
        for _ in range(number(2)):
            if version:
                number(index_size)
            start = base + number(offset_size)
            length = number(length_size)
            source = idat if method else content
            length = length or len(source) - start
            if not 0 <= start <= start + length <= len(source):
                raise ValueError(f"the data of its item {item} end behind the end of the file")
            pieces.append(source[start : start + length])
        if sum(map(len, pieces)) > len(content):
            raise ValueError(f"its item {item} repeats its data")
        items.data[item] = b"".join(pieces)


def with_items(items: Items, data: dict[int, bytes], properties: dict[int, Part]) -> bytes:
    """The file with other data of some items, and other properties at some places.

    All data go into one box mdat; every other box is kept.
    """
    all_data = items.data | data
    ipco = box("ipco", joined(properties.get(i, part) for i, part in enumerate(items.properties)))
    first = next((i for i, part in enumerate(items.boxes) if part.name == "mdat"), len(items.boxes))
    before = [part for part in items.boxes[:first] if part.name != "mdat"]
    after = [part for part in items.boxes[first:] if part.name != "mdat"]
    content = box("mdat", b"".join(all_data.values()))

    def written(parts: list[Part], start: int) -> bytes:
        return joined(_meta(items, ipco, all_data, start) if part.name == "meta" else part for part in parts)

    # The length of the box meta does not depend on the places that it names.
    start = len(written(before, 0)) + content.start
    return written(before, start) + content.raw + written(after, start)


def _meta(items: Items, ipco: Part, data: dict[int, bytes], start: int) -> Part:
    whole = next(part for part in items.boxes if part.name == "meta")
    out = []
    for part in items.meta:
        if part.name == "iprp":
            inner = [ipco if inside.name == "ipco" else inside for inside in box_parts(part.body)]
            out.append(box("iprp", joined(inner)))
        elif part.name == "iloc":
            out.append(_places(data, start))
        elif part.name != "idat":
            out.append(part)
    return box("meta", whole.body[:4] + joined(out))


def _places(data: dict[int, bytes], start: int) -> Part:
    # The form that every reader knows where it can be had: version 0, places and lengths of four bytes, one piece each.
    version = 0 if all(item < 1 << 16 for item in data) else 2
    entries = []
    for item, content in data.items():
        numbers = struct.pack(">HHH", item, 0, 1) if version == 0 else struct.pack(">IHHH", item, 0, 0, 1)
        entries.append(numbers + struct.pack(">II", start, len(content)))
        start += len(content)
    count = struct.pack(">H" if version == 0 else ">I", len(data))
    return box("iloc", struct.pack(">IH", version << 24, 0x4400) + count + b"".join(entries))
