"""Checks of the exercises: they say what is wrong, and are tested against wrong answers themselves.

In a chapter: ``checks.check("5.1", my_function)``. The checks of chapter N live in
``dhida_lib/book/exercises/chNN.py`` as functions marked ``@exercise("N.M")``; each takes the reader's answer,
raises `Wrong` (usually through `expect` and `expect_close`) or returns a few words on what was verified.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from dhida_lib._validate import bad, instance, tensor, whole

__all__ = ["Wrong", "check", "exercise", "expect", "expect_close", "expect_report", "known"]

_checks: dict[str, Callable[[Any], str]] = {}


class Wrong(Exception):
    """An answer is wrong; the message says what about it."""


class _Untouched(Exception):
    """An answer is still the stub."""


def exercise(number: str) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    """Register the check of one exercise.

    Args:
        number: chapter and exercise, such as ``"5.1"``.

    Returns:
        A decorator for a function that takes the answer, raises `Wrong` or returns what was verified.
    """

    def register(function: Callable[[Any], str]) -> Callable[[Any], str]:
        _checks[number] = function
        return function

    return register


def known(chapter: int | None = None) -> list[str]:
    """The numbers of the exercises that have a check.

    Args:
        chapter: only those of this chapter; None for all.

    Returns:
        Numbers such as ``"5.1"``, in order.

    Raises:
        ValueError: if ``chapter`` is no integer ≥ 0.
    """
    from dhida_lib.book import exercises

    if chapter is not None:
        whole("chapter", chapter)
    for number in exercises.chapters() if chapter is None else [chapter]:
        exercises.load(number)
    numbers = sorted(_checks, key=lambda n: [int(part) for part in n.split(".")])
    return [n for n in numbers if chapter is None or n.startswith(f"{chapter}.")]


def _watched(answer: Any) -> Any:
    """The answer; a function that gives back nothing at all (`...`, `pass`) counts as not attempted."""
    if answer is None or answer is ...:
        raise _Untouched
    if not isinstance(answer, types.FunctionType):
        return answer

    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = answer(*args, **kwargs)
        if result is None or result is ...:
            raise _Untouched("it gives back nothing; is a `return` missing?")
        return result

    return call


def check(number: str, answer: Any, strict: bool = False) -> None:
    """Check an answer and print the verdict.

    Nothing is raised for a wrong answer, so that "Run All" passes; solutions are checked with ``strict``.
    The random numbers of the caller are left alone.

    Args:
        number: chapter and exercise, such as ``"5.1"``.
        answer: what the exercise asks for, usually a function or a class.
        strict: raise instead of print when the answer is missing or wrong.

    Raises:
        ValueError: if there is no such exercise.
        AssertionError: with ``strict``, if the answer is missing or wrong.
    """
    chapter = instance("number", number, str, "chapter and exercise as text, such as '5.1'").split(".")[0]
    numbers = known(int(chapter)) if chapter.isdecimal() and len(chapter) < 4 else []
    if number not in numbers:
        raise bad("number", number, f"one of this chapter's exercises ({', '.join(numbers) or 'none'})")
    cause: BaseException | None = None
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            verified = _checks[number](_watched(answer))
        print(f"✓ Exercise {number}: {verified}")
        return
    except (_Untouched, NotImplementedError) as error:
        note = str(error) if isinstance(error, _Untouched) else ""
        cause, verdict = error, f"Exercise {number}: not attempted yet{f' ({note})' if note else ''}."
    except Wrong as error:
        cause, verdict = error, f"✗ Exercise {number}: {error}"
    except Exception as error:  # the reader's code may raise anything
        cause, verdict = error, f"✗ Exercise {number}: your code raised {type(error).__name__}: {error}"
    if strict:
        raise AssertionError(verdict) from cause
    print(verdict + ("\n  The hints are under the exercise." if verdict.startswith("✗") else ""))


# ---- for the authors of checks -------------------------------------------------------------------------


def expect(condition: Any, message: str) -> None:
    """Raise `Wrong` with the message unless the condition holds.

    Args:
        condition: anything with a truth value.
        message: what is wrong with the answer, and where to look.

    Raises:
        Wrong: if the condition is false.
    """
    if not condition:
        raise Wrong(message)


def expect_close(
    got: Any, want: Any, what: str, tolerance: float = 1e-5, slips: Mapping[str, Any] | None = None
) -> float:
    """Compare an answer's numbers with the right ones: kind, shape, values.

    Args:
        got: what the answer gave: a tensor, an array or a number.
        want: the right one.
        what: its name for the message, such as ``"the map P"``.
        tolerance: the largest allowed difference, absolute and relative.
        slips: the classic mistakes of this exercise: a sentence that names the mistake → the numbers that it
            gives. A wrong answer that has one of these numbers is told the sentence, the first that fits.

    Returns:
        The largest absolute difference.

    Raises:
        Wrong: if kind or shape differ, a number is not finite, or the difference is too large.
    """
    if not isinstance(got, (torch.Tensor, np.ndarray, np.generic, int, float)):
        raise Wrong(f"{what} should be numbers (a tensor or an array), but is a {type(got).__name__}")
    try:
        a = tensor(what, got).detach()
    except ValueError as error:
        raise Wrong(str(error)) from error
    if a.is_complex():
        raise Wrong(f"{what} holds complex numbers ({a.dtype}), expected real ones")
    a = a.double()
    b = tensor("want", want).detach().double()
    if _close(a, b, tolerance) and bool(torch.isfinite(a).all()):
        return float((a - b).abs().max()) if a.numel() else 0.0
    for sentence, numbers in (slips or {}).items():
        if _close(a, tensor("slips", numbers).detach().double(), tolerance):
            raise Wrong(f"{what}: {sentence}")
    if a.shape != b.shape:
        raise Wrong(f"{what} has shape {tuple(a.shape)}, expected {tuple(b.shape)}")
    if not bool(torch.isfinite(a).all()):
        raise Wrong(f"{what} holds numbers that are not finite (nan or inf)")
    difference = (a - b).abs()
    at = int(difference.argmax())
    raise Wrong(
        f"{what} differs by up to {difference.max():.3g}: "
        f"{a.flatten()[at]:.4g} where {b.flatten()[at]:.4g} is right"
    )


def expect_report(report: Any, *arms: str, seeds: int = 3) -> str:
    """Look at the report of an open experiment: predicted first, paired, repeated, and concluded in words.

    Whether the finding is a good one no machine can say; the exercise's rubric asks that of the reader.

    Args:
        report: the reader's dict: ``"prediction"`` and ``"conclusion"``, a sentence each, and for each arm a
            sequence with one number a seed. An entry that is still ``...`` counts as not attempted.
        arms: names of the arms; the others are compared with the first.
        seeds: how many runs each arm needs at least.

    Returns:
        The difference of each arm to the first, mean ± standard deviation over the seeds.

    Raises:
        Wrong: if something is missing; the message says what.
        NotImplementedError: if an entry is still ``...``.
    """
    if not isinstance(report, Mapping):
        raise Wrong(f"the report should be a dict, but is a {type(report).__name__}")
    for name in ("prediction", *arms, "conclusion"):
        expect(name in report, f"the report has no entry {name!r}")
        if report[name] is ...:
            raise NotImplementedError
    for name in ("prediction", "conclusion"):
        words = report[name].split() if isinstance(report[name], str) else []
        expect(len(words) >= 5, f"the {name} should be a sentence of your own, with its reason")
    runs = {}
    for name in arms:
        try:
            runs[name] = torch.as_tensor([float(x) for x in report[name]], dtype=torch.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise Wrong(f"{name!r} should be a list with one number a seed") from error
        n = len(runs[name])
        expect(n >= seeds, f"{name!r} has {n} runs: fewer than {seeds} seeds say nothing about chance")
        expect(bool(runs[name].isfinite().all()), f"{name!r} holds numbers that are not finite")
    plain, *others = runs.items()
    for name, values in others:
        expect(
            len(values) == len(plain[1]),
            f"{plain[0]!r} has {len(plain[1])} runs and {name!r} {len(values)}: use the same seeds in both",
        )
        expect(
            not torch.equal(values, plain[1]),
            f"{name!r} equals {plain[0]!r} number for number: does the change reach the run?",
        )
    expect(
        any(values.unique().numel() > 1 for values in runs.values()),
        "every seed gave the same number: is the seed passed on?",
    )
    found = []
    for name, values in others:
        gap = values - plain[1]
        found.append(f"{name} − {plain[0]}: {gap.mean():+.4g} ± {gap.std():.2g}")
    return f"{'; '.join(found)} (mean ± sd over {len(plain[1])} seeds). Now judge it by the rubric"


def _close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    """Have both the same shape, and the same numbers but for the tolerance (nan equals nan)?"""
    return a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
