"""Files that are delivered to, and fetched from, places of all kinds."""

from hourglass.imagefiles.delivery import delivered
from hourglass.imagefiles.remote import fetched, list_files


def put(path, content):
    with delivered(path) as local:
        local.write_bytes(content)


def content(path):
    with fetched(path) as local:
        return local.read_bytes()


def all_of(folder):
    return {str(path.relative_to(folder)): content(path) for path in list_files(folder)}
