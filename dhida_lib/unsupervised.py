"""Codes that need no labels: data-independent and unsupervised hashing, built in Chapter 1, used in Chapter
13.

Three are linear: b = sign((x − mean)·W). They differ in W: random directions (LSH), the directions of
largest variance (PCA), or those turned so that the projections lie near ±1 (ITQ). Two are not: spectral
hashing cuts the principal components with cosine waves, and anchor graph hashing cuts the eigenvectors of a
graph that joins each image to its nearest anchors.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor

from dhida_lib._validate import bad, positive_int, seed_int, tensor
from dhida_lib.quantization import quantization_error, sign

__all__ = ["ITQ", "AnchorGraphHashing", "PCAHash", "RandomHyperplanes", "SpectralHashing"]

Self = TypeVar("Self", bound="_Hash")

_PART = 8192  # rows that are turned to doubles, or compared with the anchors, at a time


class _Hash:
    """b = sign of the outputs for x − mean_; a subclass learns in `_learn` and answers in `_outputs`."""

    mean_: Tensor  # d
    projection_: Tensor

    def __init__(self, bits: int) -> None:
        self.bits = positive_int("bits", bits)

    def fit(self: Self, x: Any) -> Self:
        """Find the mean, the projection and whatever else the codes need.

        Args:
            x: features, n×d (flatten images first); tensor or array. Labels are not needed.

        Returns:
            The object itself, so that ``PCAHash(16).fit(x).encode(y)`` reads in one line.

        Raises:
            ValueError: if ``x`` is not n×d, not finite or too large to be squared; for PCA and ITQ also if
                ``bits`` > d, or if ``x`` varies in fewer than ``bits`` directions; for spectral hashing if
                all rows are equal; for anchor graph hashing if there are fewer rows than anchors, or too
                few different ones.

        Source: §2; built in Chapter 1.
        """
        x = _features(x).double()  # n×d; doubles, so that the last bits of float32 do not decide a code
        mean = x.mean(0)
        x = x - mean
        if not bool(torch.isfinite(torch.linalg.vector_norm(x))):
            raise bad("x", f"values up to {float(x.abs().max()):.3g}", "numbers whose squares can be summed")
        self.mean_ = mean
        self._learn(x)
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
        return torch.cat([sign(self._outputs(part.double() - self.mean_)).float() for part in x.split(_PART)])

    def _learn(self, x: Tensor) -> None:
        """Find the projection and the rest for centred features ``x`` (n×d)."""
        raise NotImplementedError

    def _outputs(self, x: Tensor) -> Tensor:
        """Return the numbers (n×K) whose signs are the code, for centred features ``x`` (n×d)."""
        raise NotImplementedError


class _LinearHash(_Hash):
    """b = sign((x − mean_)·projection_); a subclass says how the projection (d×K) is found."""

    def _learn(self, x: Tensor) -> None:
        self.projection_ = self._find(x)  # d×K

    def _outputs(self, x: Tensor) -> Tensor:
        return x @ self.projection_

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
        self.seed = seed_int("seed", seed)

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
        self.seed = seed_int("seed", seed)

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


class SpectralHashing(_Hash):
    """Cosine waves along the principal components: the slowest K of them are the bits.

    Good codes would be balanced, uncorrelated, and equal for near neighbours. Relaxed, this asks for the
    eigenvectors of a graph over all images. If the data fill a box uniformly, the solution is known: along a
    side from a to a + r, the k-th function is cos(kπ(v − a)/r), and functions change the slower, the smaller
    k/r. So a long side gets several bits with k = 1, 2, 3 …, and a short one none. The box is that of the
    features ``fit`` saw, along their principal components; outside it the waves go on.

    Args:
        bits: length K of the code; may be larger than d.

    Attributes:
        modes_: the k of each bit (K, int64).
        frequencies_: kπ/r of each bit (K), smallest first.

    Raises:
        ValueError: if an argument is wrong.

    Source: Weiss, Torralba and Fergus 2008, Spectral Hashing, NIPS 21; used in Chapter 1.
    """

    modes_: Tensor
    frequencies_: Tensor
    low_: Tensor  # K: where the box begins along the direction of each bit

    def _learn(self, x: Tensor) -> None:
        variances, directions = _principal(x, min(self.bits, x.shape[1]))  # p, d×p
        if not variances[0] > 0:
            raise bad("x", f"{len(x)} equal rows", "rows that vary")
        v = x @ directions  # n×p
        low = v.amin(0)  # p
        modes = torch.arange(1, self.bits + 1, device=x.device)  # K
        frequencies = math.pi * modes / (v.amax(0) - low)[:, None]  # p×K; a side of length 0 gives infinity
        chosen = frequencies.flatten().argsort(stable=True)[: self.bits]  # K
        side = chosen // self.bits
        self.projection_, self.low_ = directions[:, side], low[side]  # d×K, K
        self.modes_, self.frequencies_ = modes[chosen % self.bits], frequencies.flatten()[chosen]

    def _outputs(self, x: Tensor) -> Tensor:
        return ((x @ self.projection_ - self.low_) * self.frequencies_).cos()


class AnchorGraphHashing(_Hash):
    """The smoothest functions on a graph that joins each image to its nearest anchors (one layer).

    The anchors are centres of k-means. Z (n×m) holds the affinity of each image to its ``nearest`` anchors,
    exp(−distance²/t), scaled to sum 1, and 0 for all others. Images are alike if they share anchors: their
    graph is ZΛ⁻¹Zᵀ with Λ = diag(Zᵀ1). Its eigenvectors follow from the small matrix Λ^(−½)ZᵀZΛ^(−½)
    (m×m) = VΣVᵀ, without the constant one: outputs ZW with W = √n·Λ^(−½)VΣ^(−½). The width t is the square of
    the mean distance to the farthest of the ``nearest`` anchors. A new image gets its own row of Z.

    Args:
        bits: length K of the code, less than ``anchors``.
        anchors: number m of anchors.
        nearest: anchors s that an image is joined to.
        iterations: how often k-means moves its centres.
        seed: decides the rows at which k-means starts.

    Attributes:
        anchors_: the anchors, m×d, less the mean of the features that ``fit`` saw.
        width_: the width t.

    Raises:
        ValueError: if an argument is wrong.

    Source: Liu, Wang, Kumar and Chang 2011, Hashing with Graphs, ICML 28; used in Chapter 1.
    """

    anchors_: Tensor
    width_: float

    def __init__(
        self, bits: int, anchors: int = 300, nearest: int = 3, iterations: int = 10, seed: int = 0
    ) -> None:
        super().__init__(bits)
        self.anchors = positive_int("anchors", anchors)
        self.nearest = positive_int("nearest", nearest)
        self.iterations = positive_int("iterations", iterations)
        self.seed = seed_int("seed", seed)
        if bits >= anchors:
            raise bad("bits", bits, f"less than anchors = {anchors}")
        if nearest > anchors:
            raise bad("nearest", nearest, f"at most anchors = {anchors}")

    def _learn(self, x: Tensor) -> None:
        n = len(x)
        if n < self.anchors:
            raise bad("x", f"{n} rows", f"at least anchors = {self.anchors} rows")
        self.anchors_ = _kmeans(x, self.anchors, self.iterations, self.seed)
        self.width_ = float(_nearest(x, self.anchors_, self.nearest)[0][:, -1].sqrt().mean() ** 2)
        if not self.width_ > 1e-12 * float(x.square().sum(1).mean()):
            raise bad("x", f"{n} rows", "rows that do not all lie on their anchors: more different rows")
        mass, gram = x.new_zeros(self.anchors), x.new_zeros(self.anchors, self.anchors)  # Zᵀ1, ZᵀZ
        for part in x.split(_PART):
            Z = self._affinities(part)
            mass, gram = mass + Z.sum(0), gram + Z.T @ Z
        root = torch.where(mass > 0, mass.rsqrt(), 0.0)  # an anchor that no image is joined to takes no part
        M = root[:, None] * gram * root
        constant = (mass / n).sqrt()  # the eigenvector of 1 that says nothing; the graph may have others
        values, vectors = torch.linalg.eigh(M - torch.outer(constant, constant))  # m ascending, m×m
        values, vectors = values.flip(0)[: self.bits], vectors.flip(1)[:, : self.bits]
        if not values[-1] > 1e-10:
            raise bad("x", f"{n} rows", f"rows whose graph has at least bits = {self.bits} directions")
        self.projection_ = root[:, None] * _same_signs(vectors) * (n / values).sqrt()  # m×K

    def _outputs(self, x: Tensor) -> Tensor:
        return self._affinities(x) @ self.projection_

    def _affinities(self, x: Tensor) -> Tensor:
        """The rows of Z for centred features ``x``: n×m."""
        squares, index = _nearest(x, self.anchors_, self.nearest)  # n×s each
        return x.new_zeros(len(x), self.anchors).scatter(1, index, (-squares / self.width_).softmax(1))


def _features(x: Any) -> Tensor:
    """Check features and return them as a tensor n×d."""
    x = tensor("x", x).detach()
    if x.ndim != 2 or x.numel() == 0 or x.is_complex():
        raise bad(
            "x",
            f"shape {tuple(x.shape)} of {x.dtype}",
            "real features n×d, one row an image (`x.flatten(1)`)",
        )
    if not bool(torch.isfinite(x).all()):
        raise bad("x", "NaN or infinity", "finite")
    return x


def _gaussian(rows: int, columns: int, seed: int) -> Tensor:
    """Standard normal numbers, the same on every device (drawn on the CPU)."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _principal_directions(x: Tensor, bits: int) -> Tensor:
    """The ``bits`` directions of largest variance (d×K) of centred ``x`` (n×d), largest first."""
    n, d = x.shape
    if bits > d:
        raise bad("bits", bits, f"at most d = {d}, the number of features")
    variances, directions = _principal(x, bits)
    if not variances[-1] > 1e-10 * variances[0]:  # also when all are zero
        raise bad("x", f"{n} rows", f"rows that vary in at least bits = {bits} directions")
    return directions


def _principal(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest variances of centred ``x`` (n×d), largest first; their directions (d×count)."""
    variances, directions = torch.linalg.eigh(x.T @ x / len(x))  # d ascending, d×d
    return variances.flip(0)[:count], _same_signs(directions.flip(1)[:, :count])


def _same_signs(vectors: Tensor) -> Tensor:
    """Eigenvectors (columns) whose signs are ours and not the solver's: the largest entry is positive."""
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))  # 1×K
    return vectors * sign(largest)


def _nearest(x: Tensor, anchors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Squared distances (n×count) from ``x`` (n×d) to its nearest ``anchors`` (m×d), and their numbers."""
    own = anchors.square().sum(1)  # m
    parts = []
    for part in x.split(_PART):
        squares = part.square().sum(1, keepdim=True) + own - 2 * part @ anchors.T  # rows×m
        parts.append(squares.clamp(min=0).topk(count, largest=False))  # ascending
    return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])


def _kmeans(x: Tensor, count: int, iterations: int, seed: int) -> Tensor:
    """Centres (count×d) of ``x`` (n×d) after some steps of k-means from random rows."""
    start = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:count]
    centres = x[start.to(x.device)]
    for _ in range(iterations):
        owner = _nearest(x, centres, 1)[1][:, 0]  # n
        sizes = owner.bincount(minlength=count)[:, None]  # m×1
        sums = torch.zeros_like(centres).index_add_(0, owner, x)
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)  # an empty one stays
    return centres
