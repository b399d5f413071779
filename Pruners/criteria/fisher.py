"""Fisher: the second-order change of the loss without a weight, from the diagonal of the empirical Fisher matrix."""

from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.gradients import squared_gradients
from Pruners.criteria.scores import Batches


def fisher(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """w^2 F / 2, F the mean over examples of (dL/dw)^2: the diagonal of the empirical Fisher information.

    It stands for the Hessian's diagonal in optimal brain damage (LeCun et al. 1990, eq. 5; Theis et al. 2018).
    """
    information = squared_gradients(model, batches)
    return {name: weight.detach().square() * information[name] / 2 for name, (weight, _) in prunable(model).items()}
