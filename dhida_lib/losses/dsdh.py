"""DSDH: the likelihood of the pairs, and binary codes from which a linear classifier reads the label.

Li, Sun, He, Tan: *Deep Supervised Discrete Hashing*, NIPS 2017, arXiv 1705.10999. Chapter 14.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dhida_lib._validate import positive, positive_int
from dhida_lib.losses.base import HashLoss, Search, multi_hot, pairwise_nll, register_loss, similar
from dhida_lib.quantization import sign

__all__ = ["DSDHLoss"]


@register_loss("dsdh")
class DSDHLoss(HashLoss):
    """J = mean over pairs of log(1 + exp θ) − s·θ, plus μ‖Y − BW‖² + ν‖W‖² + η‖B − U‖².

    θ_ij = ½ u_i·U_j; Y (n×c) holds the labels, U (n×K) the outputs, B (n×K, ±1) the codes, W (K×c) the
    classifier. Three kinds of step take turns. W: ridge regression. B: bit by bit, each bit the exact
    minimum with the others fixed (discrete cyclic coordinate descent). u: the network, by the gradient of
    the likelihood and of η · mean of (b − u)², *the only way by which the classifier reaches the network*.
    That scalar is the loss; the terms without a gradient are left out of it. Labels: ids or multi-hot.

    The usual port has the terms in μ and ν in the loss, where they are constants, but not the one in η: its
    B feeds nothing. The paper's weights, 55 : 1 for η : μ, make B nearly equal to sign(U), which
    would silence the classifier as well; here η = μ, as in another public port.

    With a bank, W and B change at the beginning of an epoch, over all images met so far, and an image met for
    the first time has b = sign(u). B and W are buffers and are saved. Without a bank they are those of the
    batch, from b = sign(u), anew in every call.

    Args:
        bits: length K of the code.
        num_train: number n of training images, for pairs against the bank; ``None``: pairs within the batch.
        num_classes: number c of classes; needed with ``num_train``.
        mu: weight μ > 0 of the classifier's error, in the steps of B and W only.
        nu: weight ν > 0 of ‖W‖², in the step of W only.
        eta: weight η > 0 of ‖B − U‖²; in the loss a mean over images and bits.
        rounds: turns of W and B in one update.
        empty_rows: what unfilled rows of the bank count as pairs, see :class:`HashLoss`.

    Raises:
        ValueError: if an argument is wrong.

    Source: Li et al., arXiv 1705.10999; built in Chapter 14.
    """

    label = "DSDH"
    reference = "Li, Sun, He, Tan, NIPS 2017, arXiv 1705.10999"
    search = Search("eta", (0.01, 1.0))

    B: Tensor
    W: Tensor
    b: Tensor

    def __init__(
        self,
        bits: int,
        num_train: int | None = None,
        num_classes: int | None = None,
        mu: float = 0.1,
        nu: float = 0.01,
        eta: float = 0.1,
        rounds: int = 10,
        empty_rows: str = "drop",
    ) -> None:
        super().__init__(bits, num_train, num_classes, empty_rows)
        self.mu, self.nu, self.eta = positive("mu", mu), positive("nu", nu), positive("eta", eta)
        self.rounds = positive_int("rounds", rounds)
        if self.num_train is not None and self.num_classes is not None:
            self.register_buffer("B", torch.zeros(self.num_train, self.bits))  # n×K, 0: not met yet
            self.register_buffer("W", torch.zeros(self.bits, self.num_classes))  # K×c

    def discrete_steps(self, B: Tensor, U: Tensor, Y: Tensor) -> tuple[Tensor, Tensor]:
        """Lower μ‖Y − BW‖² + ν‖W‖² + η‖B − U‖² by ``rounds`` turns of W and B.

        Args:
            B: codes to start from, n×K.
            U: outputs, n×K; no gradient flows.
            Y: multi-hot labels, n×c.

        Returns:
            The new B (n×K) and W (K×c).

        Source: Li et al., arXiv 1705.10999, §3.3; built in Chapter 14.
        """
        B, U, Y = B.clone(), U.detach().to(B.dtype), Y.to(B.dtype)
        ridge = self.nu / self.mu * torch.eye(self.bits, dtype=B.dtype, device=B.device)  # K×K
        for _ in range(self.rounds):
            W = torch.linalg.solve(B.T @ B + ridge, B.T @ Y)  # K×c
            P = Y @ W.T + self.eta / self.mu * U  # n×K
            G = W @ W.T  # K×K
            G.fill_diagonal_(0)  # a bit does not meet itself
            for k in range(self.bits):
                B[:, k] = sign(P[:, k] - B @ G[:, k])
        return B, W

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Bring W and B up to date with the bank; without a bank, or while it is empty, nothing happens.

        Args:
            epoch: the epoch that begins, from 0; not used.
            epochs: how many there will be; not used.

        Source: Li et al., arXiv 1705.10999, Algorithm 1; built in Chapter 14.
        """
        if self.num_train is not None and self.bank_filled.any():
            met = self.bank_filled
            codes, labels = self.bank_codes[met], self.bank_labels[met]
            self.B[met], self.W[:] = self.discrete_steps(self.B[met], codes, labels)

    def formula(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor) -> Tensor:
        """See the class; u is B×K, U m×K, y and Y are their labels."""
        S = similar(y, Y, u)  # B×m
        return pairwise_nll(0.5 * u @ U.T, S) + self.eta * (self.b - u).square().mean()

    def update(self, u: Tensor, U: Tensor, y: Tensor, Y: Tensor, rows: Tensor | None) -> None:
        """Set b, the binary codes of the batch: the stored ones, or without a bank those of one update."""
        self.b = sign(u.detach())  # B×K
        if rows is None:
            self.b, _ = self.discrete_steps(self.b, u, multi_hot(y, self.num_classes))
        else:
            stored = self.B[rows].to(u.dtype)
            self.b = stored.where(stored != 0, self.b)
            self.B[rows] = self.b.to(self.B.dtype)
