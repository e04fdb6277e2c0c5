"""Optimizers by name, and the learning rate of every step (§4.2; Chapter 11)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from dhida_lib._validate import bad, choice, first_weight, instance, positive_int, whole
from dhida_lib.config import TrainConfig

__all__ = ["OPTIMIZERS", "build_optimizer", "learning_rate", "set_rate"]

Factory = Callable[[Iterable[Any]], torch.optim.Optimizer]

# RMSprop has no fused form; on a GPU torch takes foreach, one kernel for many tensors, by itself.
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "rmsprop": torch.optim.RMSprop,
    "sgd": lambda groups, **settings: torch.optim.SGD(groups, momentum=0.9, **settings),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
"""Name → what makes it, called with parameter groups, ``lr`` and ``weight_decay``."""


def build_optimizer(
    model: nn.Module, config: TrainConfig, factory: Factory | None = None
) -> torch.optim.Optimizer:
    """The optimizer of a run: one group of parameters, or two if the backbone has a rate of its own.

    Args:
        model: the network; what does not learn (frozen parts) is left out.
        config: name, rate and weight decay.
        factory: makes it instead, from the groups; each has ``scale``, a factor on the rate.

    Returns:
        The optimizer. Every group has ``scale``, which `set_rate` heeds.

    Raises:
        ValueError: if the name is unknown, nothing learns, there is no backbone to have a rate of its own, or
            an argument is of another kind.

    Source: §4.2; built in Chapter 11.
    """
    first_weight(model)
    choice("optimizer", instance("config", config, TrainConfig, "a TrainConfig").optimizer, OPTIMIZERS)
    if factory is not None and not callable(factory):
        raise bad("optimizer", type(factory).__name__, "a function from parameter groups to an optimizer")
    learns = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if config.backbone_rate != 1 and not any(_of_backbone(name) for name, _ in model.named_parameters()):
        raise bad("backbone_rate", config.backbone_rate, "1 for a network without `backbone`")
    if config.backbone_rate == 1:
        groups = [{"params": [p for _, p in learns], "scale": 1.0}]
    else:
        inside = [p for name, p in learns if _of_backbone(name)]
        rest = [p for name, p in learns if not _of_backbone(name)]
        groups = [{"params": rest, "scale": 1.0}, {"params": inside, "scale": config.backbone_rate}]
    groups = [g for g in groups if g["params"]]
    if not groups:
        raise ValueError("Nothing in this network learns: all its parameters are frozen.")
    if factory is not None:
        made = factory(groups)
        need = "a function from parameter groups to an optimizer of torch"
        instance("optimizer", made, torch.optim.Optimizer, need)
        for group in made.param_groups:
            group.setdefault("scale", 1.0)
        return made
    return OPTIMIZERS[config.optimizer](groups, lr=config.lr, weight_decay=config.weight_decay)


def _of_backbone(name: str) -> bool:
    """Does this parameter's name say that it belongs to the backbone?"""
    return "backbone" in name.split(".")


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step.

    Args:
        config: base rate, schedule, warm-up and number of epochs.
        step: the optimizer's step, from 0, over the whole run.
        steps_per_epoch: the optimizer's steps in one epoch.

    Returns:
        The rate.

    Raises:
        ValueError: if there is no step in an epoch, or an argument is of another kind.

    Source: §4.2 has a constant rate; built in Chapter 11.
    """
    instance("config", config, TrainConfig, "a TrainConfig")
    whole("step", step)
    positive_int("steps_per_epoch", steps_per_epoch)
    total, warm = config.epochs * steps_per_epoch, config.warmup * steps_per_epoch
    rate = config.lr if warm == 0 else config.lr * min(1.0, (step + 1) / warm)
    if config.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * step / total))
    return rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its rate.

    Args:
        optimizer: as `build_optimizer` made it.
        rate: the step's rate.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
