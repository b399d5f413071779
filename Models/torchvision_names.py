"""Which classifiers does the installed torchvision have? Read from its source, so that no PyTorch is loaded."""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@lru_cache
def torchvision_names() -> tuple[str, ...]:
    """Their names in alphabetical order; none if torchvision is not installed."""
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        return ()
    # Subfolders hold detection, segmentation, video and quantised networks, which classify no images.
    files = (Path(found.origin).parent / "models").glob("*.py")
    return tuple(sorted(name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8"))))
