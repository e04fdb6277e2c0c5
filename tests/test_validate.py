"""The checks that every module shares: one clear sentence, whatever comes."""

import math

import numpy as np
import pytest
import torch

from dhida_lib._validate import (
    bad,
    choice,
    instance,
    number,
    positive,
    positive_int,
    seed_int,
    sized,
    tensor,
    whole,
)
from dhida_lib.labels import as_labels, similarity

NOT_INTEGERS = [True, False, 1.0, math.nan, math.inf, "1", None, [1], np.int64(1), torch.tensor(1)]


class Mute:
    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("check", "lowest", "highest"),
    [(positive_int, 1, 2**31 - 1), (whole, 0, 2**31 - 1), (seed_int, 0, 2**32 - 1)],
)
def test_integers(check, lowest, highest):
    assert check("n", lowest) == lowest
    assert check("n", highest) == highest
    for wrong in (*NOT_INTEGERS, lowest - 1, -(10**400)):
        with pytest.raises(ValueError, match=r"^`n` must be (a positive integer|an integer ≥ 0), but got"):
            check("n", wrong)
    for wrong in (highest + 1, 2**64, 10**400, 10**5000):
        with pytest.raises(
            ValueError, match=f"^`n` must be an integer of at most {highest}, but got"
        ) as caught:
            check("n", wrong)
        assert len(str(caught.value)) < 400


def test_numbers():
    assert positive("x", 3) == 3.0
    assert positive("x", 0, zero=True) == 0.0
    assert number("x", -2) == -2.0
    for wrong in (True, "1", None, math.nan, math.inf, -math.inf, 10**400, -(10**400), [1.0], np.ones(2)):
        for check in (number, positive, lambda n, v: positive(n, v, zero=True)):
            with pytest.raises(ValueError, match=r"^`x` must be a (finite )?number"):
                check("x", wrong)
    for wrong in (0, -1, -0.0):
        with pytest.raises(ValueError, match=r"^`x` must be a number > 0, but got"):
            positive("x", wrong)


def test_a_message_is_one_short_line():
    assert str(bad("x", np.zeros((50, 50)), "a number")).count("\n") == 0
    assert len(str(bad("x", "a" * 100_000, "short"))) < 400
    assert str(bad("x", Mute(), "a number")) == "`x` must be a number, but got Mute."


def test_choice_of_anything():
    assert choice("x", "a", ("a", "b")) == "a"
    for wrong in ("c", None, 3, ["a"], np.array(["a", "b"]), torch.ones(2), {"a": 1}):
        with pytest.raises(ValueError, match=r"^`x` must be one of 'a', 'b', but got"):
            choice("x", wrong, ("a", "b"))


def test_instance():
    model = torch.nn.Identity()
    assert instance("model", model, torch.nn.Module, "a network") is model
    with pytest.raises(ValueError, match=r"^`model` must be a network, but got 'NoneType'"):
        instance("model", None, torch.nn.Module, "a network")


def test_sized():
    for right in ([1, 2], (1, 2), np.zeros(2), torch.zeros(2), range(2)):
        assert sized("x", right, "two things") is right
        assert sized("x", right, "two things", 2) is right
        with pytest.raises(ValueError, match=r"^`x` must be three things, but got '2 of them'"):
            sized("x", right, "three things", 3)
    for wrong in (None, 3, "ab", b"ab", torch.tensor(3), iter([1]), {1: 2, 3: 4}, {1, 2}):
        with pytest.raises(ValueError, match=r"^`x` must be two things, but got"):
            sized("x", wrong, "two things")


def test_tensor():
    x = torch.ones(3, 2, requires_grad=True).T
    assert tensor("x", x) is x
    assert tensor("x", [[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert tensor("x", np.arange(6.0)[::-2]).tolist() == [5, 3, 1]
    assert tensor("x", torch.ones(2, dtype=torch.uint16)).dtype == torch.int32
    for wrong in (
        None,
        "ab",
        ["a"],
        [[1], [1, 2]],
        {1: 2},
        object(),
        [10**30],
        np.array(["2020"], "M8"),
        Mute(),
    ):
        with pytest.raises(ValueError, match=r"^`x` must be a tensor or an array of numbers, but got"):
            tensor("x", wrong)
    for wrong in (torch.eye(2).to_sparse(), torch.eye(2, device="meta")):
        with pytest.raises(ValueError, match=r"^`x` must be a tensor or an array of numbers: dense"):
            tensor("x", wrong)
    with pytest.raises(ValueError, match=r"^`x` must be .* computes with, but got 'torch.float8_e5m2"):
        tensor("x", torch.ones(2).to(torch.float8_e5m2))


def test_labels_that_are_none():
    for wrong in (None, "ab", [[1], [1, 0]], ["a", "b"], [None], 3, torch.eye(2).to_sparse()):
        with pytest.raises(ValueError, match=r"^`labels` must be"):
            similarity(wrong)
        with pytest.raises(ValueError, match=r"^`y` must be"):
            as_labels(wrong, "y")
        if wrong is not None:  # None compares the labels with themselves
            with pytest.raises(ValueError, match=r"^`others` must be"):
                similarity([0, 1], wrong)
