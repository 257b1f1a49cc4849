"""Image files of one image or few, taken apart and put together again with other pixels."""
