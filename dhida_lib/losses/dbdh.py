"""DBDH: the likelihood of the pairs of *binary* codes, with a straight-through gradient, and balance.

Zheng, Zhang, Lu: *Deep balanced discrete hashing for image retrieval*, Neurocomputing 403, 2020. Chapter 14.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dhida_lib._validate import choice, positive
from dhida_lib.losses.base import HashLoss, Search, pairwise_nll, register_loss, similar
from dhida_lib.quantization import piecewise, straight_through_sign

__all__ = ["DBDHLoss"]


@register_loss("dbdh")
class DBDHLoss(HashLoss):
    """L = mean over pairs of log(1 + exp θ) − s·θ, plus α · mean over i of (mean over k of v_ik)².

    θ_ij = ½ v_i·V_j. In the paper v = sign(u) itself: the gradient to v is passed on to u as if the sign
    were the identity (``activation="sign"``). Labels: ids or multi-hot.

    Common ports put v = f(u), clamped to [−1, 1], instead (``activation="piecewise"``). That is term by term
    the DHIDA loss with γ = α, so a "DBDH" trained with such a port is DHIDA without attention.

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch.
        num_classes: number c of classes; needed with ``num_train``.
        alpha: weight α ≥ 0 of the balance term.
        activation: ``"sign"``: the paper's; ``"piecewise"``: the common ports'.
        empty_rows: what unfilled rows of the bank count, see :class:`HashLoss`. With ``"keep"`` the sign
            makes them codes of ones.

    Raises:
        ValueError: if an argument is wrong.

    Source: Zheng et al., Neurocomputing 2020; built in Chapter 14.
    """

    label = "DBDH"
    reference = "Zheng, Zhang, Lu, Neurocomputing 2020"
    search = Search("alpha", (0.01, 1.0))
    # As its paper has it, it does not learn from a random start here.
    start: ClassVar[dict[str, str]] = {"activation": "piecewise"}

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        alpha: float = 0.1,
        activation: str = "sign",
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.alpha = positive("alpha", alpha, zero=True)
        self.activation = choice("activation", activation, ("sign", "piecewise"))

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        S = similar(y, Y, u)  # B×m
        act = straight_through_sign if self.activation == "sign" else piecewise
        v, V = act(u), act(U)
        return pairwise_nll(0.5 * v @ V.T, S) + self.alpha * v.mean(dim=1).square().mean()
