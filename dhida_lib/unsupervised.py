"""Codes that need no labels: data-independent and unsupervised hashing, built in Chapter 1, used in Chapter
13.

All three are linear: b = sign((x − mean)·W). They differ in W: random directions (LSH), the directions of
largest variance (PCA), or those turned so that the projections lie near ±1 (ITQ).
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from dhida_lib._validate import bad, positive_int
from dhida_lib.quantization import quantization_error, sign

__all__ = ["ITQ", "PCAHash", "RandomHyperplanes"]

Self = TypeVar("Self", bound="_LinearHash")


class _LinearHash:
    """b = sign((x − mean_)·projection_); a subclass says how the projection (d×K) is found."""

    mean_: Tensor  # d
    projection_: Tensor  # d×K

    def __init__(self, bits: int) -> None:
        self.bits = positive_int("bits", bits)

    def fit(self: Self, x: Any) -> Self:
        """Find the mean and the projection.

        Args:
            x: features, n×d (flatten images first); tensor or array. Labels are not needed.

        Returns:
            The object itself, so that ``PCAHash(16).fit(x).encode(y)`` reads in one line.

        Raises:
            ValueError: if ``x`` is not n×d or not finite; for PCA and ITQ also if ``bits`` > d, or if ``x``
                varies in fewer than ``bits`` directions.

        Source: §2; built in Chapter 1.
        """
        x = _features(x).double()  # n×d; doubles, so that the last bits of float32 do not decide a code
        self.mean_ = x.mean(0)
        self.projection_ = self._find(x - self.mean_)
        return self

    def encode(self, x: Any) -> Tensor:
        """Turn features into codes.

        Args:
            x: features, n×d with the d of ``fit``; tensor or array.

        Returns:
            Codes of ±1, n×bits, float32.

        Raises:
            ValueError: if ``fit`` was not called, or ``x`` is not n×d.

        Source: Eq. (2); built in Chapter 1.
        """
        if not hasattr(self, "projection_"):
            raise ValueError(
                f"This {type(self).__name__} has no projection yet: call `.fit(x)` before `.encode(x)`."
            )
        x = _features(x)
        if x.shape[1] != len(self.mean_):
            raise bad("x", f"shape {tuple(x.shape)}", f"n×{len(self.mean_)}, the width that `fit` saw")
        # In parts, so that a large float32 set is never copied whole to doubles.
        return torch.cat(
            [sign((part.double() - self.mean_) @ self.projection_).float() for part in x.split(8192)]
        )

    def _find(self, x: Tensor) -> Tensor:
        """Return the projection (d×K) for centred features ``x`` (n×d)."""
        raise NotImplementedError


class RandomHyperplanes(_LinearHash):
    """Locality-sensitive hashing by random hyperplanes: W is Gaussian and looks at no data.

    Two vectors at angle φ get different bits with probability φ/π. The planes pass through the mean of the
    features that ``fit`` saw: pixels are never negative, and planes through the origin would hardly part
    them.

    Args:
        bits: length K of the code; may be larger than d.
        seed: decides the planes.

    Raises:
        ValueError: if an argument is wrong.

    Source: Charikar 2002, doi 10.1145/509907.509965; built in Chapter 1.
    """

    def __init__(self, bits: int, seed: int = 0) -> None:
        super().__init__(bits)
        self.seed = _seed(seed)

    def _find(self, x: Tensor) -> Tensor:
        return _gaussian(x.shape[1], self.bits, self.seed).to(x.device)


class PCAHash(_LinearHash):
    """The signs of the first K principal components.

    Works on the d×d covariance matrix, so d should be a few thousand at most.

    Args:
        bits: length K of the code, at most d.

    Raises:
        ValueError: if an argument is wrong.

    Source: Gong et al. 2013, doi 10.1109/TPAMI.2012.193, §2; built in Chapter 1.
    """

    def _find(self, x: Tensor) -> Tensor:
        return _principal_directions(x, self.bits)


class ITQ(_LinearHash):
    """Iterative quantization: turn the principal components so that they lie near ±1.

    V (n×K) are the projections of PCA. Two steps repeat: B = sign(VR), then the rotation R that
    minimises ‖B − VR‖² for this B (the Procrustes problem: VᵀB = PΣQᵀ, R = PQᵀ). Neither step can raise the
    error.

    Args:
        bits: length K of the code, at most d.
        iterations: how often the two steps run.
        seed: decides the random rotation at the start.

    Attributes:
        errors_: mean of (B − VR)² over all elements, at the start and after each iteration (iterations + 1
            values).

    Raises:
        ValueError: if an argument is wrong.

    Source: Gong et al. 2013, doi 10.1109/TPAMI.2012.193; built in Chapter 1.
    """

    errors_: list[float]

    def __init__(self, bits: int, iterations: int = 50, seed: int = 0) -> None:
        super().__init__(bits)
        self.iterations = positive_int("iterations", iterations)
        self.seed = _seed(seed)

    def _find(self, x: Tensor) -> Tensor:
        W = _principal_directions(x, self.bits)  # d×K
        V = x @ W  # n×K
        Q, T = torch.linalg.qr(_gaussian(self.bits, self.bits, self.seed))
        R = (Q * sign(T.diagonal())).to(x.device)  # K×K; QR is unique once T's diagonal is positive
        self.errors_ = [float(quantization_error(V @ R))]
        for _ in range(self.iterations):
            P, _, Qt = torch.linalg.svd(V.T @ sign(V @ R))  # of VᵀB, K×K
            R = P @ Qt
            self.errors_.append(float(quantization_error(V @ R)))
        return W @ R


def _features(x: Any) -> Tensor:
    """Check features and return them as a tensor n×d."""
    x = torch.as_tensor(x).detach()
    if x.ndim != 2 or x.numel() == 0 or x.is_complex():
        raise bad(
            "x",
            f"shape {tuple(x.shape)} of {x.dtype}",
            "real features n×d, one row an image (`x.flatten(1)`)",
        )
    if not bool(torch.isfinite(x).all()):
        raise bad("x", "NaN or infinity", "finite")
    return x


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise bad("seed", seed, "an integer ≥ 0")
    return seed


def _gaussian(rows: int, columns: int, seed: int) -> Tensor:
    """Standard normal numbers, the same on every device (drawn on the CPU)."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _principal_directions(x: Tensor, bits: int) -> Tensor:
    """The ``bits`` directions of largest variance (d×K) of centred ``x`` (n×d), largest first."""
    n, d = x.shape
    if bits > d:
        raise bad("bits", bits, f"at most d = {d}, the number of features")
    variances, directions = torch.linalg.eigh(x.T @ x / n)  # d ascending, d×d
    variances, directions = variances.flip(0)[:bits], directions.flip(1)[:, :bits]  # K, d×K
    if not variances[-1] > 1e-10 * variances[0]:  # also when all are zero
        raise bad("x", f"{n} rows", f"rows that vary in at least bits = {bits} directions")
    # An eigenvector's sign is the solver's choice. Ours: the entry of largest size is positive.
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))  # 1×K
    return directions * sign(largest)
