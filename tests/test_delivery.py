"""Files at servers that show a file while it is written, or that do not replace a file by renaming another."""

from pathlib import Path
from typing import ClassVar

import pytest

from delivered_files import all_of, put
from hourglass.imagefiles.remote import place


@pytest.fixture
def plain_server(monkeypatch):
    """A file system that shows a file while it is written, as servers of files do and object stores do not."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class PlainServer(MemoryFileSystem):
        protocol = "plain"
        store: ClassVar = {}
        pseudo_dirs: ClassVar = [""]
        breaks = False

        def put_file(self, local, remote, **options):
            content = Path(local).read_bytes()
            self.pipe_file(remote, content[: len(content) // 2] if PlainServer.breaks else content)
            if PlainServer.breaks:
                raise OSError("the connection is lost")

        @classmethod
        def _strip_protocol(cls, path):
            return "/" + path.removeprefix("plain://").strip("/")

    fsspec.register_implementation("plain", PlainServer, clobber=True)
    return PlainServer


def test_files_appear_as_a_whole_where_the_store_does_not_see_to_it(plain_server):
    folder = place("plain://server/out")
    put(folder / "a.bin", b"whole")
    assert all_of(folder) == {"a.bin": b"whole"}
    plain_server.breaks = True
    for name in ("a.bin", "b.bin"):
        with pytest.raises(OSError, match="the connection is lost"):
            put(folder / name, b"another")
    assert all_of(folder) == {"a.bin": b"whole"}


def test_a_file_that_exists_is_replaced_where_renaming_does_not_replace(plain_server, monkeypatch):
    move, folder = plain_server.mv, place("plain://server/replaced")

    def refusing(self, source, target, **options):
        if self.exists(target):
            raise FileExistsError(target)
        move(self, source, target)

    def silent(self, source, target, **options):
        if not self.exists(target):
            move(self, source, target)

    for mv in (refusing, silent):
        put(folder / "a.bin", b"old")
        monkeypatch.setattr(plain_server, "mv", mv)
        put(folder / "a.bin", b"new")
        assert all_of(folder) == {"a.bin": b"new"}
    monkeypatch.setattr(plain_server, "mv", lambda self, source, target: None)
    with pytest.raises(OSError, match="cannot be renamed"):
        put(folder / "b.bin", b"another")
