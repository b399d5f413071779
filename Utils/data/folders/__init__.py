"""Folders of images: `listing.py` finds their files, `decoding.py` reads them, `cache.py` keeps the result."""
