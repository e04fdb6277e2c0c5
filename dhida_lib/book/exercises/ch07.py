"""Checks of Chapter 7's exercises: the IDA module, and what max + mean − M does."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from dhida_lib.attention import DualAttention
from dhida_lib.book.checks import exercise, expect, expect_close
from dhida_lib.models import HashNetwork


@exercise("7.1")
def ex_7_1(answer: Any) -> str:
    """The row map is the column map times a prior."""
    M = 2 * torch.randn(2, 5, 7, dtype=torch.float64)  # [b, i, j]; i and j differ in number
    P = (-M).softmax(1).transpose(1, 2)  # [b, j, i]
    t = (M.amax(2, keepdim=True) + M.mean(2, keepdim=True)) / 2
    want = (t - M).softmax(1).transpose(1, 2)
    got = answer(P.clone(), M.clone())
    if isinstance(got, torch.Tensor) and got.shape == want.shape:
        expect(
            torch.allclose(got.sum(2), torch.ones_like(got.sum(2))),
            "for each j the weights must sum to 1 over i (the last axis); yours do not",
        )
    error = expect_close(got, want, "the row map")
    return f"5 values of i, 7 of j, a batch of 2 (largest difference {error:.1e})"


@exercise("7.2")
def ex_7_2(answer: Any) -> str:
    """The factor 2 moves into the hash layer's weight."""
    model = HashNetwork("narrow-resnet", "double", bits=6, in_channels=1, width=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bn" in name and name.endswith("bias"):  # else the fresh network is linear in its scale
                parameter.normal_()
        model(2 * torch.randn(8, 1, 28, 28))  # batch norm has seen something
    model.eval()
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        want = model(x)
    new = answer(model)
    expect(isinstance(new, HashNetwork), f"the answer gives back a {type(new).__name__}, not a HashNetwork")
    after = model.state_dict()
    expect(
        new is not model and all(torch.equal(after[name], before[name]) for name in before),
        "the old model was changed: build a new one and copy the weights",
    )
    expect(
        isinstance(new.attention, nn.Identity),
        f'between map and pooling there is still {type(new.attention).__name__}, not attention="none"',
    )
    with torch.no_grad():
        error = expect_close(new.eval()(x), want, "u of the new model", tolerance=1e-4)
    return f"no module, same u for 4 images (largest difference {error:.1e})"


@exercise("7.3")
def ex_7_3(answer: Any) -> str:
    """The pooled module in one line."""
    module = DualAttention(5).double()
    nn.init.constant_(module.position.alpha, 0.7)
    nn.init.constant_(module.channel.beta, -0.4)
    A = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    want = module(A).mean((2, 3))
    locked = copy.deepcopy(module)
    called: list[str] = []
    for name, part in (("module", locked), ("position", locked.position), ("channel", locked.channel)):
        part.register_forward_pre_hook(lambda *_, name=name: called.append(name))
    got = answer(locked, A)
    expect(
        not called,
        f"the answer computed the whole output (it called the {called[0] if called else ''} forward); "
        "use attention_map and value",
    )
    error = expect_close(got, want, "the pooled features")
    return f"2 images, 5 channels, 3×4 positions (largest difference {error:.1e})"


@exercise("7.4")
def ex_7_4(answer: Any) -> str:
    """Mean and standard error of a paired difference."""
    a = torch.tensor([0.71, 0.64, 0.69, 0.60, 0.66, 0.73], dtype=torch.float64)
    b = torch.tensor([0.70, 0.65, 0.66, 0.58, 0.66, 0.70], dtype=torch.float64)
    got = answer(a.clone(), b.clone())
    expect(
        isinstance(got, (tuple, list)) and len(got) == 2,
        f"give back two numbers, (mean, standard error), not a {type(got).__name__}",
    )
    difference = a - b
    expect_close(got[0], difference.mean(), "the mean difference a − b")
    unpaired = (a.var() / len(a) + b.var() / len(b)).sqrt()
    expect(
        abs(float(got[1]) - float(unpaired)) > 1e-5,
        "the standard error is that of unpaired arms: subtract first, then take the spread",
    )
    error = expect_close(got[1], difference.std() / len(a) ** 0.5, "the standard error")
    return f"six seeds: mean and standard error (largest difference {error:.1e})"
