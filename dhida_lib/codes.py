"""Codes: how a network's outputs become bits, and how bits are packed into bytes (Eq. 15; Chapters 8 and 17).

A code is ±1 here (n×K). A rule has a name, so that a saved model can say which one it needs.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dhida_lib._registry import Registry
from dhida_lib.quantization import one_hot_codes, sign

__all__ = ["CODE_RULES", "to_codes"]

CODE_RULES: Registry[Callable[[Tensor], Tensor]] = Registry("code rule", "dhida_lib.code_rules")
"""Rule → function from outputs u (n×K) to codes of ±1 (n×K)."""

CODE_RULES.add("sign", sign)
CODE_RULES.add("one-hot", one_hot_codes)


def to_codes(u: Tensor, rule: str = "sign") -> Tensor:
    """The codes of a network's outputs.

    Args:
        u: outputs (n×K).
        rule: a name in `CODE_RULES`: ``"sign"`` (Eq. 15), or ``"one-hot"``, a classifier's largest output.

    Returns:
        Codes of ±1 (n×K).

    Raises:
        ValueError: if the rule is unknown.

    Example:
        >>> import torch
        >>> to_codes(torch.tensor([[0.4, -0.1, 1.2]]))
        tensor([[ 1., -1.,  1.]])

    Source: Eq. (15); built in Chapter 8, the other rule in Chapter 11.
    """
    return CODE_RULES.find(rule, "rule")(u)
