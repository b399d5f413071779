"""The classifiers of torchvision with masked layers, with fresh weights."""

from typing import Any

from torch import nn

from Layers import mask_model
from Models.normalisation import use_batch_statistics

_WITHOUT_AUXILIARY = ("googlenet", "inception_v3")
"""Their auxiliary classifiers are used in training only, and are no part of the network that is deployed."""


def load_pretrained(model: nn.Module, name: str) -> list[str]:
    """Give a network torchvision's best weights, trained on ImageNet, but for parameters of another shape.

    Returns the names of those, which are the classifier's if there are not 1000 classes. Raises `ConnectionError` if
    the weights are neither in torch's cache nor to be downloaded, `ValueError` if there are none.
    """
    import torchvision

    weights: Any = torchvision.models.get_model_weights(name.partition("/")[2])
    if not list(weights):
        raise ValueError(f"torchvision has no weights of {name}")
    try:
        state = weights.DEFAULT.get_state_dict(check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConnectionError((str(error) or type(error).__name__).splitlines()[0]) from error
    own = model.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    model.load_state_dict({**own, **fitting})
    return [key for key in own if not key.endswith("_mask") and key not in fitting]


def imagenet(name: str, input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """The network `imagenet/NAME`. Raises `ValueError` if the input is too small or a layer cannot have a mask."""
    import torchvision

    name = name.partition("/")[2]
    options = {"aux_logits": False, "init_weights": True} if name in _WITHOUT_AUXILIARY else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    if batchnorm == "batch":
        use_batch_statistics(model)
    return mask_model(model, input_shape)
