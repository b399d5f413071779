"""The classifiers of torchvision with masked layers, with fresh weights."""

from torch import nn

from Layers import mask_model
from Models.normalisation import use_batch_statistics

_WITHOUT_AUXILIARY = ("googlenet", "inception_v3")
"""Their auxiliary classifiers are used in training only, and are no part of the network that is deployed."""


def imagenet(name: str, input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """The network `imagenet/NAME`. Raises `ValueError` if the input is too small or a layer cannot have a mask."""
    import torchvision

    name = name.partition("/")[2]
    options = {"aux_logits": False, "init_weights": True} if name in _WITHOUT_AUXILIARY else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    if batchnorm == "batch":
        use_batch_statistics(model)
    return mask_model(model, input_shape)
