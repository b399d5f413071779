"""Fisher: second-order change of the loss when a weight is removed, from the diagonal of the empirical Fisher."""

from torch import Tensor, nn

from Layers import prunable
from Pruners.criteria.gradients import squared_gradients
from Pruners.criteria.scores import Batches


def fisher(model: nn.Module, batches: Batches, generator: object) -> dict[str, Tensor]:
    """w^2 F / 2, where F = mean over examples of (dL/dw)^2 is the diagonal of the empirical Fisher information.

    F replaces the Hessian's diagonal in optimal brain damage (LeCun et al. 1990, eq. 5; Theis et al. 2018).
    """
    information = squared_gradients(model, batches)
    return {name: weight.detach().square() * information[name] / 2 for name, (weight, _) in prunable(model).items()}
