"""Names of the classifiers in the installed torchvision, read from its source so that PyTorch is not loaded."""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@lru_cache
def torchvision_names() -> tuple[str, ...]:
    """Names of torchvision's classifiers in alphabetical order; empty if torchvision is not installed."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return ()
    # Subfolders hold detection, segmentation, video and quantised networks, which are no image classifiers.
    files = (Path(spec.origin).parent / "models").glob("*.py")
    return tuple(sorted(name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8"))))
