"""Agreement of networks on one test set: accuracy per class, disagreement, and pruning-identified exemplars.

`labels` are integers (images,), `predicted` integers (images,) of one network or (networks, images) of several.
"""

import numpy as np
from scipy.spatial.distance import pdist, squareform


def class_accuracies(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """float64 (classes,): the share of each class's images that are predicted correctly; NaN without images."""
    counts = np.bincount(labels, minlength=classes)
    with np.errstate(invalid="ignore"):
        return np.bincount(labels[labels == predicted], minlength=classes) / counts


def disagreements(predicted: np.ndarray) -> np.ndarray:
    """float64 (networks, networks): the share of images for which two networks predict different classes."""
    return squareform(pdist(predicted, "hamming"))


def modal_labels(predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 (images,): the class that most of the networks predict; of equally frequent ones, the lowest."""
    return _votes(predicted, classes).argmax(axis=0)


def votes_for(predicted: np.ndarray, chosen: np.ndarray, classes: int) -> np.ndarray:
    """float64 (images,): the share of the networks that predict the chosen class (images,)."""
    return np.take_along_axis(_votes(predicted, classes), chosen[None], axis=0)[0] / len(predicted)


def exemplars(dense: np.ndarray, pruned: np.ndarray, classes: int) -> np.ndarray:
    """int64: the pruning-identified exemplars (Hooker et al. 2019, "What Do Compressed Deep Neural Networks Forget?").

    These are the images whose modal labels among dense networks (networks, images) and among pruned ones differ. If as
    many pruned networks predict the dense label as any other, the image is none.
    """
    votes = _votes(pruned, classes)
    of_dense_label = np.take_along_axis(votes, modal_labels(dense, classes)[None], axis=0)[0]
    return np.flatnonzero(of_dense_label < votes.max(axis=0))


def _votes(predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 (classes, images): the number of networks that predict each class."""
    images = predicted.shape[1]
    places = predicted.astype(np.int64) * images + np.arange(images)
    return np.bincount(places.ravel(), minlength=classes * images).reshape(classes, images)
