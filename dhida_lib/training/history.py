"""What a run writes down: one row for each epoch (Algorithm 1; Chapter 11)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dhida_lib._validate import bad, instance, tensor
from dhida_lib.quantization import piecewise, quantization_error, sign

__all__ = ["History", "bit_balance", "describe"]


@dataclass
class History:
    """What a run wrote down: one dictionary per epoch, in order.

    Args:
        epochs: the rows; every row has ``epoch`` (from 1), ``loss``, ``lr``, ``bit_balance``,
            ``quantization_error`` and ``seconds``; ``alpha`` and ``beta`` where the network has attention;
            ``skipped``, the steps that were left out, where the loss is scaled (float16); and what callbacks
            added.
        formats: the number formats that the run computed in, each with the reason why; several if its
            sessions had different cards.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Read one quantity over the run.

        Args:
            name: for example ``"loss"``.

        Returns:
            The epochs that have it, and its values.

        Raises:
            ValueError: if no epoch has it.
        """
        instance("name", name, str, "the name of a quantity")
        rows = [row for row in self.epochs if name in row]
        if not rows:
            known = sorted({key for row in self.epochs for key in row})
            raise bad("name", name, "one of " + ", ".join(known))
        return [row["epoch"] for row in rows], [row[name] for row in rows]

    @property
    def seconds(self) -> float:
        """Time spent in the epochs, in seconds, over all sessions of the run."""
        return sum(row["seconds"] for row in self.epochs)


def bit_balance(codes: Tensor) -> float:
    """How far each bit is from being +1 for half of the images.

    Args:
        codes: ±1 codes (n×K).

    Returns:
        mean over bits of |mean over images|: 0 if every bit is balanced, 1 if every bit is constant.

    Raises:
        ValueError: if ``codes`` is no such table, or an empty one.

    Source: the aim of Eq. (12), measured; built in Chapter 11.
    """
    codes = tensor("codes", codes)
    if codes.ndim != 2 or codes.numel() == 0 or codes.is_complex():
        raise bad("codes", f"shape {tuple(codes.shape)} of {codes.dtype}", "codes n×K, not empty")
    codes = codes.to(torch.promote_types(codes.dtype, torch.float32))
    return float(codes.mean(dim=0).abs().mean())


def describe(u: Tensor, model: nn.Module) -> dict[str, float]:
    """What an epoch's outputs say of the codes, and where attention's scalars stand.

    Args:
        u: outputs, n×K, as the network gave them in the course of the epoch.
        model: the network.

    Returns:
        ``bit_balance``, ``quantization_error``, and ``alpha`` and ``beta`` where the network has them.
    """
    row = {"bit_balance": bit_balance(sign(u)), "quantization_error": float(quantization_error(piecewise(u)))}
    with torch.no_grad():
        scalars = {n: p for n, p in model.named_parameters() if n.endswith((".alpha", ".beta"))}
        return row | {name.rsplit(".", 1)[1]: p.item() for name, p in scalars.items()}
