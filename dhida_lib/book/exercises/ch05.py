"""Checks of Chapter 5's exercises: position attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report
from dhida_lib.book.exercises._calls import TorchCalls


@exercise("5.1")
def ex_5_1(answer: Any) -> str:
    """The derivative of what is fetched by a score: p_k (d_k − y)."""
    scores, d = torch.randn(7, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    p = scores.softmax(0)
    y = p @ d
    by_autograd = torch.autograd.functional.jacobian(lambda s: s.softmax(0) @ d, scores).T  # n×m
    slips = {
        "this is p·d, as if the score did not stand in the denominator too": p[:, None] * d,
        "this moves only the weight of the score itself; all the others move as well": (p * (1 - p))[:, None]
        * d,
        "the sign is turned round: more weight on d moves y towards d": p[:, None] * (y - d),
        "the factor p is missing: where there is no weight, nothing moves": d - y,
        "y is the weighted mean of the values, not the plain one": p[:, None] * (d - d.mean(0)),
        "row k of the answer belongs to score k, and its columns to the numbers of a value: transpose it": (
            by_autograd.T
        ),
    }
    error = expect_close(answer(p.clone(), d.clone()), by_autograd, "the slope", slips=slips)
    return f"7 scores and values of 3 numbers, as autograd has it (largest difference {error:.1e})"


@exercise("5.2")
def ex_5_2(answer: Any) -> str:
    """Softmax of −M over the allowed positions."""
    M = 2 * torch.randn(3, 7, 7, dtype=torch.float64)  # [b, i, j]
    allowed = torch.rand(3, 7) > 0.4
    allowed[:, 2] = True
    hidden = ~allowed[:, :, None]  # at i
    P = (-M).masked_fill(hidden, -torch.inf).softmax(1)  # [b, i, j]
    got = answer(M.clone(), allowed.clone())
    if isinstance(got, Tensor):
        expect(
            not got.isnan().any(),
            "the map holds nan: an infinite number went into M, or through a max or mean of it. Put −∞ into "
            "the exponent, behind the minus",
        )
    full = (-M).softmax(1)
    at_j = (-M).masked_fill(~allowed[:, None, :], -torch.inf).nan_to_num(0.0).softmax(1)
    slips = {
        "a forbidden position has the exponent 0, and exp(0) = 1 is a weight like the others'": (
            (-M.masked_fill(hidden, 0)).softmax(1).mT
        ),
        "the weights of forbidden positions are gone, but the rows do not sum to 1 any more": (
            full.masked_fill(hidden, 0).mT
        ),
        "nothing is forbidden: this is the map without the mask": full.mT,
        "this prefers the largest scores: Eq. 4 has the softmax of −M": (
            M.masked_fill(hidden, -torch.inf).softmax(1).mT
        ),
        "the mask stands on those who look; it belongs to those who are looked at, i": at_j.mT,
        "the layout is still [b, i, j]; give back [b, j, i]": P,
    }
    error = expect_close(got, P.mT, "the masked map", slips=slips)
    weights = got.mT[hidden.expand_as(P)]
    expect(
        bool((weights == 0).all()),
        f"a forbidden position still has the weight {float(weights.max()):.1g}, which is not exactly 0",
    )
    return f"3 images, 7 positions, forbidden weights exactly 0 (largest difference {error:.1e})"


class _Largest(TorchFunctionMode):
    """Notes the largest tensor that any function gives back."""

    numbers = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function and look at what it gives."""
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.numel())
        return out


@exercise("5.3")
def ex_5_3(answer: Any) -> str:
    """The sums of Eq. 5, with the lookers in portions."""
    n = 60
    B, C = torch.randn(2, 3, n, dtype=torch.float64)  # inner×HW
    D = torch.randn(5, n, dtype=torch.float64)  # channels×HW
    M = B.T @ C  # [i, j]
    want = D @ (-M).softmax(0)
    error = 0.0
    for size in (8, 1, n):
        along_i = [D[:, k : k + size] @ (-M[k : k + size]).softmax(0) for k in range(0, n, size)]
        slips = {
            "each softmax runs over a part of those looked at: cut along j, who looks, never along i": (
                torch.stack(along_i).sum(0)
            ),
            "this prefers the largest scores: Eq. 4 has the softmax of −M": D @ M.softmax(0),
            "the lookers own C, and the softmax runs over B's positions; here it is the other way round": (
                D @ (-M.T).softmax(0)
            ),
            f"the last, smaller portion is missing ({n} is no multiple of {size})": want[:, : n - n % size],
        }
        with _Largest() as seen:
            got = answer(B.clone(), C.clone(), D.clone(), size)
        error = max(error, expect_close(got, want, f"the sums for size {size}", slips=slips))
        allowed = max(n * size, 5 * n)
        expect(
            seen.numbers <= allowed,
            f"with size {size} a tensor of {seen.numbers:,} numbers was made, but {n}×{size} scores are "
            f"allowed at a time: is that the whole M, {n}×{n}?",
        )
    return (
        f"{n} positions in portions of 8, 1 and {n}, never too many scores (largest difference {error:.1e})"
    )


@exercise("5.4")
def ex_5_4(answer: Any) -> str:
    """Softmax of −M without overflow, column by column."""
    small = torch.randn(2, 5, 5)
    want = (-small).softmax(1).mT
    slips = {
        "the layout is still [b, i, j]; give back [b, j, i]": want.mT,
        "this prefers the largest scores: Eq. 4 has the softmax of −M": small.softmax(1).mT,
        "the softmax runs over j, those who look": (-small).softmax(2).mT,
    }
    expect_close(answer(small.clone()), want, "the map of small scores", slips=slips)
    large = 150 * small
    got = answer(large.clone())
    if isinstance(got, Tensor) and got.shape == large.shape:
        e = (large.amin() - large).exp()
        one_for_all = (e / e.sum(1, keepdim=True)).mT.nan_to_num(0.0)
        expect(
            not torch.allclose(got.nan_to_num(0.0), one_for_all),
            "with scores up to 300 whole columns vanish: subtract each column's own number, not one for all",
        )
        expect(
            not got.isnan().any(),
            "with scores up to 300 it still gives nan: the largest exponent is t − min(M), so that the max "
            "does not keep it small",
        )
        expect(
            bool((got.sum(2) - 1).abs().max() < 1e-3),
            "with scores up to 300 a row no longer sums to 1: nan was put away, not avoided",
        )
    wrong = (
        "with scores up to 300 the weights are wrong: cut exponents are all alike, whatever the scores are"
    )
    expect(torch.allclose(got, (-large).softmax(1).mT, atol=1e-5), wrong)
    with TorchCalls() as called:
        got = answer(small.clone())
    error = expect_close(got, want, "the map of small scores")
    softmax = called.names & {"softmax", "log_softmax"}
    expect(not softmax, "the map is right, but softmax was called: write out what has to be subtracted")
    return f"small scores, and scores up to 300 (largest difference {error:.1e})"


@exercise("5.5")
def ex_5_5(report: Any) -> str:
    """The report on what decides how sharp a fresh map is."""
    return expect_report(report, "plain", "changed")
