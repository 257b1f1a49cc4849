"""TIFF files: read by tifffile, changed in a copy."""
