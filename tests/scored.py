"""Scores of every pruner, each criterion's computed once for all its quotas."""

from functools import lru_cache

import settings
import torch
from conftest import make_batches
from torch import nn

from Layers import prunable
from Models import build
from Pruners import make_pruner, registry
from Pruners.criteria.scores import Scores
from Pruners.schedules.quotas import transfer


def network(architecture: str) -> nn.Module:
    """A network whose weights depend on nothing else."""
    return build(architecture, generator=torch.Generator().manual_seed(1))


@lru_cache(maxsize=64)
def criterion_scores(criterion: str, architecture: str, sparsity: str) -> Scores:
    """What a criterion alone gives."""
    batches = make_batches(settings.NETWORKS[architecture])
    generator = torch.Generator().manual_seed(2)
    return make_pruner(criterion).score(network(architecture), batches, sparsity, generator)


def pruner_scores(name: str, architecture: str, sparsity: str) -> Scores:
    """The scores of a pruner, put together by hand; `test_pruners.py` compares them with the pruner."""
    criterion, quota = registry.split_name(name)
    own = criterion_scores(criterion, architecture, sparsity)
    masks = {key: mask for key, (_, mask) in prunable(network(architecture)).items()}
    if quota in registry.CRITERIA:
        return transfer(own, masks, criterion_scores(quota, architecture, sparsity))
    module, function = registry.QUOTAS[quota].target.split(":")
    return getattr(__import__(module, fromlist=[function]), function)(own, masks)
