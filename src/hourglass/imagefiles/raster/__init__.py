"""Image files of one picture or few, taken apart and put together again with other pixels."""
