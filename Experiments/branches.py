"""Branches of a training: the option of experiments that can train a second copy of their network. Loads no PyTorch."""

from dataclasses import dataclass

from Utils.config.fields import NOT_NEGATIVE, setting
from Utils.config.settings import Settings
from Utils.errors import UserError


@dataclass(frozen=True)
class BranchOptions:
    """Instability analysis."""

    branch_at: int | None = setting(
        None, "train a second copy of the network from this step with images in another order, and test the networks "
        "on the line between both", kind=int, check=NOT_NEGATIVE,
    )  # fmt: skip


def branch_step(settings: Settings) -> int | None:
    """The step of the branch; None without one, and for an experiment whose options are others."""
    return getattr(settings.options, "branch_at", None)


def check_branch(settings: Settings) -> None:
    """Raise `UserError` if no step of a resolved run follows the branch."""
    step, iterations = branch_step(settings), settings.training.iterations or 0
    if step is not None and step >= iterations:
        raise UserError(f"--branch_at={step} must be less than the {iterations} iterations of training")
