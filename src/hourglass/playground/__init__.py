"""The playground: a page on which the networks compute in the browser, and a server of one's own for it."""

from hourglass.playground.pages import INSPECTION, check_page, write_page
from hourglass.playground.server import POLICY, page_server

__all__ = ["INSPECTION", "POLICY", "check_page", "page_server", "write_page"]
