"""Check of networks: what `--check` prints about each architecture before any run. Needs no data."""

from collections.abc import Iterator

import torch
from tqdm import tqdm

from Experiments.checking.network_report import SECTIONS, CheckedNetwork
from Experiments.common.network import build_network, image_spec_of
from Experiments.planning.validation import ignored_flags
from Models.registry import architecture
from Utils.config.parser import Request
from Utils.config.settings import Settings
from Utils.data.registry import DATASETS, FALLBACK
from Utils.errors import UserError

FLAGS = (
    "architecture", "data", "image_size", "batchnorm", "dense_classifier", "prune_bias", "prune_batchnorm",
    "prune_residual",
)  # fmt: skip
"""Flags that say which network is checked."""

_IMAGENET_CLASSES = 1000


def check(request: Request) -> Iterator[str]:
    """The report of each network of the request, one after another.

    Raises `UserError` for a flag that does not say which network is checked, and for a network that cannot be built.
    """
    for name in request.values:
        if name not in FLAGS:
            flags = ", ".join(f"--{flag}" for flag in FLAGS)
            raise UserError(f"--check runs nothing, so --{name} has no effect; leave it out (it takes {flags})")
    for values in request.product():
        settings = Settings().with_values(**values)
        own = architecture(settings.run.architecture).data
        data = settings.run.data or own or FALLBACK
        source = f"those of {data}" + (
            " (--data)" if settings.run.data else ", its own data set" if own else ", assumed without --data"
        )
        if settings.run.image_size is not None:
            source += ", resized by --image_size"
        yield _report(settings.with_values(data=data), source, request.is_given("batchnorm"))


def _report(settings: Settings, source: str, is_batchnorm_given: bool) -> str:
    """All paragraphs about one network, with a progress bar if they take long; `source` says whose images it gets."""
    ignored = ignored_flags(settings, "step", {"optimizer": "sgd", "weight_decay": 0.0})
    if is_batchnorm_given and "batchnorm" in ignored:
        raise UserError(f"--batchnorm has no effect {ignored['batchnorm']}; leave it out")
    name, spec = settings.run.architecture, settings.network_spec
    shape, classes = _images(settings)
    without_effect = {flag: ignored[flag] for flag in ("batchnorm", "pretrained") if flag in ignored}
    model = build_network(spec, shape, classes)
    network = CheckedNetwork(spec, model, shape, classes, source, without_effect)
    bar = tqdm(SECTIONS, desc=f"checking {name}", unit="part", leave=False, disable=None, delay=3, dynamic_ncols=True)
    paragraphs = [section(network) for section in bar]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _images(settings: Settings) -> tuple[tuple[int, int, int], int]:
    """The shape of the images that the network gets of its data set, and the number of classes; reads no file."""
    entry = DATASETS[str(settings.run.data)]
    if entry.facts is None and entry.input_shape is None:
        raise UserError(f"--check reads no images, so it knows no classes of {settings.run.data}; name other --data")
    spec = image_spec_of(settings.data_spec)
    image = spec.fit(torch.zeros(1, *(entry.input_shape or spec.shape), dtype=torch.uint8))
    channels, height, width = image.shape[1:]
    return (channels, height, width), entry.facts.classes if entry.facts else _IMAGENET_CLASSES
