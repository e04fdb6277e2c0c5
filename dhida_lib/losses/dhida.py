"""The paper's loss: pairwise likelihood plus balance (Eq. 9–13), built in Chapter 9; its gradient (Eq. 16),
Chapter 10.

The paper leaves several things open; each is an argument here, and the errata page says which reading is
the default.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dhida_lib._validate import choice, positive
from dhida_lib.losses.base import HashLoss, Search, pairwise_nll, register_loss, similar
from dhida_lib.quantization import piecewise

__all__ = ["DHIDALoss"]


@register_loss("dhida")
class DHIDALoss(HashLoss):
    """L = L1 + γ·L2 on v = f(u): the likelihood of the pairs plus the balance of the codes.

    L1 = mean over pairs of log(1 + exp θ_ij) − s_ij·θ_ij, with θ_ij = ½ v_i·V_j.
    L2 = mean over i of (mean over k of v_ik)² for ``balance="code"``.
    Both are means: next to a sum over all pairs, γ = 0.1 would not be seen.

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch.
        num_classes: number c of classes; needed with ``num_train``.
        gamma: weight γ ≥ 0 of the balance term.
        balance: ``"code"``: each code has as many +1 as −1 (mean over its bits); ``"bit"``: each bit is +1
            for half of the images (mean over the batch). Eq. 12 allows both.
        inner: ``"half"``: ⟨u, u'⟩ = ½uᵀu', as the gradient of Eq. 16 has it; ``"plain"``: uᵀu', Eq. 11 to
            the letter.
        activation: ``"piecewise"``: v = f(u) of Eq. 1; ``"identity"``: v = u, for the ablation.
        empty_rows: what unfilled rows of the bank count, see :class:`HashLoss`.

    Raises:
        ValueError: if an argument is wrong.

    Source: Eq. (9)–(13); built in Chapter 9.
    """

    label = "DHIDA"
    has_attention = True
    reference = "Yang et al., Information 2021, doi 10.3390/info12070285"
    search = Search("gamma", (0.01, 1.0))

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        gamma: float = 0.1,
        balance: str = "code",
        inner: str = "half",
        activation: str = "piecewise",
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.gamma = positive("gamma", gamma, zero=True)
        self.balance = choice("balance", balance, ("code", "bit"))
        self.inner = choice("inner", inner, ("half", "plain"))
        self.activation = choice("activation", activation, ("piecewise", "identity"))

    def terms(self, u: Tensor, labels: Any, index: Any = None) -> tuple[Tensor, Tensor]:
        """The two terms L1 and L2 (without γ), for plots and logs; arguments and errors as ``forward``.

        Returns:
            (L1, L2), two scalars.

        Source: Eq. (11), (12); built in Chapter 9.
        """
        return self._terms(u, *self.known(u, labels, index))

    def _terms(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        S = similar(y, Y, u)  # B×m
        v, V = (piecewise(u), piecewise(U)) if self.activation == "piecewise" else (u, U)
        theta = (0.5 if self.inner == "half" else 1.0) * (v @ V.T)  # B×m
        L1 = pairwise_nll(theta, S)
        L2 = v.mean(dim=1 if self.balance == "code" else 0).square().mean()  # mean of B or of K squares
        return L1, L2

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        L1, L2 = self._terms(u, U, y, Y)
        return L1 + self.gamma * L2
