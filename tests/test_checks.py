"""The frame of the exercise checks: verdicts, strictness, comparisons."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from dhida_lib.book import checks, exercises
from dhida_lib.book.checks import Wrong, check, exercise, expect, expect_close, expect_report, known


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """A registry with one exercise, 99.1: return twice the argument."""
    monkeypatch.setattr(checks, "_checks", {})

    @exercise("99.1")
    def twice(answer):
        x = torch.randn(3)
        expect(callable(answer), "the answer should be a function of x")
        return f"values (largest difference {expect_close(answer(x), 2 * x, 'the double'):.0e})"


def test_right(capsys):
    check("99.1", lambda x: x + x)
    assert capsys.readouterr().out == "✓ Exercise 99.1: values (largest difference 0e+00)\n"


def no_answer(x):
    raise NotImplementedError


@pytest.mark.parametrize("stub", [no_answer, None, ..., lambda x: ..., lambda x: None])
def test_stub_is_not_attempted(stub, capsys):
    check("99.1", stub)
    assert capsys.readouterr().out.startswith("Exercise 99.1: not attempted yet")
    with pytest.raises(AssertionError, match="not attempted yet"):
        check("99.1", stub, strict=True)


def test_nothing_returned_is_named(capsys):
    check("99.1", lambda x: None)
    assert "`return` missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: 2 * x + 1, "the double differs by up to 1"),
        (lambda x: 2 * x[:2], r"the double has shape (2,), expected (3,)"),
        (lambda x: x / 0, "not finite"),
        (lambda x: "2x", "is a str"),
        (lambda x: x.no_such, "your code raised AttributeError"),
        (5, "should be a function"),
    ],
)
def test_wrong_is_explained_and_not_raised(wrong, message, capsys):
    check("99.1", wrong)
    out = capsys.readouterr().out
    assert out.startswith("✗ Exercise 99.1: ")
    assert message in out
    assert "hints" in out
    with pytest.raises(AssertionError, match=r"✗ Exercise 99\.1"):
        check("99.1", wrong, strict=True)


def test_random_numbers_of_the_caller_are_left_alone():
    torch.manual_seed(7)
    want = torch.randn(2)
    torch.manual_seed(7)
    check("99.1", lambda x: 2 * x)
    assert torch.equal(torch.randn(2), want)


def test_class_is_passed_as_it_is(capsys):
    seen = []
    exercise("99.2")(lambda answer: seen.append(answer) or "a class")
    check("99.2", torch.nn.Linear)
    assert seen == [torch.nn.Linear]


@pytest.mark.parametrize("number", ["99.7", "x.1", "5", "²", "1" * 5000, 1.5, None, b"99.1"])
def test_unknown_number(number):
    with pytest.raises(ValueError, match="number"):
        check(number, no_answer)


def test_known_in_order():
    exercise("99.10")(str)
    exercise("99.2")(str)
    assert known(99) == ["99.1", "99.2", "99.10"]
    assert set(known(99)) <= set(known())


@pytest.mark.parametrize("chapter", [-1, 3.0, "3", np.array([1, 2]), 10**5000], ids=range(5))
def test_a_chapter_is_a_number(chapter):
    for ask in (known, exercises.load):
        with pytest.raises(ValueError, match=r"^`chapter` must be"):
            ask(chapter)


def test_expect_close_takes_arrays_as_they_come():
    x = np.arange(6.0).reshape(2, 3)
    assert expect_close(x[::-1, ::-2], torch.tensor([[5.0, 3.0], [2.0, 0.0]]), "x") == 0
    with pytest.raises(Wrong, match="`x` must be a tensor or an array of numbers"):
        expect_close(np.array(["a"]), 1.0, "x")
    with pytest.raises(Wrong, match="complex numbers"):
        expect_close(torch.ones(1) + 1j, torch.ones(1), "x")


def test_expect_close_kinds():
    assert expect_close(np.float32(2), 2, "x") == 0
    assert expect_close(torch.empty(0, 3), torch.empty(0, 3), "x") == 0
    assert expect_close([1.0, 2.0] and np.array([1.0]), torch.tensor([1.000001]), "x") < 1e-5
    with pytest.raises(Wrong, match="list"):
        expect_close([1.0], 1.0, "x")


def test_a_known_slip_is_named():
    slips = {"the half is missing": torch.tensor([2.0, 4.0]), "rows and columns swapped": torch.ones(3, 2)}
    want = torch.tensor([1.0, 2.0])
    assert expect_close(want.clone(), want, "the mean", slips=slips) == 0
    with pytest.raises(Wrong, match=r"^the mean: the half is missing$"):
        expect_close(2 * want, want, "the mean", slips=slips)
    with pytest.raises(Wrong, match=r"^the mean: rows"):  # also where the shape is wrong
        expect_close(torch.ones(3, 2), want, "the mean", slips=slips)
    with pytest.raises(Wrong, match="0/0"):
        expect_close(float("nan"), 0.5, "the share", slips={"an empty ball gives 0/0": float("nan")})
    with pytest.raises(Wrong, match="differs by up to 6"):  # no slip fits
        expect_close(4 * want, want, "the mean", slips=slips)


REPORT = {
    "prediction": "Half as long, because the gradient is doubled.",
    "plain": [10, 12, 11],
    "changed": [5, 6, 5],
    "conclusion": "It is half as long; nothing is said about networks.",
}


def test_report_of_an_open_experiment():
    told = expect_report(REPORT, "plain", "changed")
    assert told.startswith("changed − plain: -5.667 ± 0.58 (mean ± sd over 3 seeds)")
    with pytest.raises(NotImplementedError):
        expect_report(REPORT | {"changed": ...}, "plain", "changed")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": "half"}, "the prediction should be a sentence"),
        ({"conclusion": None}, "the conclusion should be a sentence"),
        ({"changed": [5, 6]}, "'changed' has 2 runs: fewer than 3 seeds"),
        ({"changed": [5, 6, 5, 5]}, "'plain' has 3 runs and 'changed' 4: use the same seeds"),
        ({"changed": [10, 12, 11]}, "does the change reach the run?"),
        ({"plain": [10] * 3, "changed": [5] * 3}, "is the seed passed on?"),
        ({"changed": 5}, "a list with one number a seed"),
        ({"changed": ["a", "b", "c"]}, "a list with one number a seed"),
        ({"changed": [5, 6, float("nan")]}, "not finite"),
    ],
)
def test_weak_report_is_told_what_it_lacks(change, message):
    with pytest.raises(Wrong, match=re.escape(message)):
        expect_report(REPORT | change, "plain", "changed")
    with pytest.raises(Wrong, match="no entry 'control'"):
        expect_report(REPORT, "plain", "changed", "control")
    with pytest.raises(Wrong, match="should be a dict"):
        expect_report([REPORT], "plain")


def test_chapters_are_found():
    found = exercises.chapters()
    assert found == sorted(found)
    exercises.load(98)  # a chapter without exercises is no error
