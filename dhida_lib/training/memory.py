"""A GPU's memory: what to change when it is full (Chapter 12)."""

from __future__ import annotations

import re

import torch

from dhida_lib.config import TrainConfig

__all__ = ["OUT_OF_MEMORY"]

OUT_OF_MEMORY: type[RuntimeError] = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)
"""What torch raises when a device's memory is full."""


def advice(config: TrainConfig, precision: str) -> list[str]:
    """Three settings to change, the one that costs least first.

    Args:
        config: the run that did not fit.
        precision: the number format that it computed in.

    Returns:
        Three changes, each a few words.
    """
    half = max(config.batch_size // 2, 1)
    found = ["`data_on_device=False`"] if config.data_on_device else []
    found += ["`recompute=True`"] if not config.recompute else []
    found += ['`precision="auto"`'] if precision in ("float32", "tf32") and config.precision != "auto" else []
    both = f"`batch_size={half}` with `accumulate={2 * config.accumulate}`"
    found += [both] if config.batch_size > 1 else []
    return [*found, "a smaller `image_size`", "a `frozen` part of the backbone", "a smaller backbone"][:3]


def explain(error: BaseException, config: TrainConfig, precision: str, device: torch.device) -> str:
    """One sentence for an error of a full memory: what was asked, what was free, what to change.

    Args:
        error: what torch raised.
        config: the run that did not fit.
        precision: the number format that it computed in.
        device: where it ran.

    Returns:
        The sentence.
    """
    text = str(error)
    size = r"([\d.]+ [KMGT]?i?B|[\d.]+ bytes)"
    asked = re.search(rf"[Tt]ried to allocate {size}", text)
    free = re.search(rf"of which {size} is free", text)
    have = free[1] if free else _free(device)
    first, second, third = advice(config, precision)
    return (
        f"The memory of {device} is full: {asked[1] if asked else 'more'} was asked for and {have} was free; "
        f"try {first}, {second}, or {third}."
    )


def _free(device: torch.device) -> str:
    if device.type == "cuda" and torch.cuda.is_available():
        return f"{torch.cuda.mem_get_info(device)[0] / 2**20:,.0f} MiB"
    return "less"
