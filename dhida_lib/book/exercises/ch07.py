"""Checks of Chapter 7's exercises: the IDA module, and what max + mean − M does."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib.book.checks import exercise, expect, expect_close, expect_report
from dhida_lib.models import HashNetwork


@exercise("7.1")
def ex_7_1(answer: Any) -> str:
    """Q and r, on which alone the map depends."""
    W_B, W_C = torch.randn(2, 3, 5, dtype=torch.float64)  # inner×channels
    b_B, b_C = torch.randn(2, 3, dtype=torch.float64)
    a = torch.randn(5, 7, dtype=torch.float64)  # channels×HW
    got = answer(W_B.clone(), b_B.clone(), W_C.clone(), b_C.clone())
    two = isinstance(got, (tuple, list)) and len(got) == 2
    expect(two, f"give back two things, (Q, r), not a {type(got).__name__}")
    Q, r = W_B.T @ W_C, W_B.T @ b_C
    slips = {
        "this is the transpose: a_i belongs to B and stands on the left, so W_B is transposed": Q.T,
        "the sign is turned round; the minus of Eq. 3 comes later": -Q,
        "this multiplies over the wrong axis: Q is channels×channels": W_B @ W_C.T,
    }
    error = expect_close(got[0], Q, "Q", slips=slips)
    slips = {
        "this is the term with b_B, which is the same for all i and cancels": W_C.T @ b_B,
        "both biases are in it, but the term with b_B cancels": W_B.T @ b_C + W_C.T @ b_B,
        "one bias does not cancel: B_i · b_C depends on i": torch.zeros(5, dtype=torch.float64),
        "b_C reaches a_i through the other convolution, W_B": W_C.T @ b_C,
    }
    error = max(error, expect_close(got[1], r, "r", slips=slips))
    M = (W_B @ a + b_B[:, None]).T @ (W_C @ a + b_C[:, None])  # [i, j]
    mine = a.T @ got[0] @ a + (got[1] @ a)[:, None]
    expect_close((-mine).softmax(0), (-M).softmax(0), "the map from Q and r")
    return f"the map of 7 positions, from Q and r alone (largest difference {error:.1e})"


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
        bare = want - model.hash_layer.bias  # W·GAP(2A)
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
    slips = {
        "the bias was doubled, too; it is added after the pooling, so it never met the 2": want
        + model.hash_layer.bias,
        "nothing was doubled: the features are half as large now, so W must be twice as large": bare / 2
        + model.hash_layer.bias,
        "W was halved where it must be doubled": bare / 4 + model.hash_layer.bias,
    }
    with torch.no_grad():
        u = new.eval()(x)
        first = "backbone.conv1.weight"
        expect(
            torch.equal(new.state_dict()[first], before[first]),
            "the first convolution was changed; batch norm takes its scale out again. Change the hash layer",
        )
        error = expect_close(u, want, "u of the new model", tolerance=1e-4, slips=slips)
    return f"no module, same u for 4 images (largest difference {error:.1e})"


@exercise("7.3")
def ex_7_3(answer: Any) -> str:
    """The channel gate of CBAM."""
    A = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    W_1, W_2 = torch.randn(4, 5, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)

    def through(x: Tensor) -> Tensor:
        return (x @ W_1.T).relu() @ W_2.T

    def gated(gate: Tensor) -> Tensor:
        return gate[:, :, None, None] * A

    mean, top = A.mean((2, 3)), A.amax((2, 3))
    want = gated(torch.sigmoid(through(mean) + through(top)))
    slips = {
        "the max is missing": gated(torch.sigmoid(through(mean))),
        "the mean is missing": gated(torch.sigmoid(through(top))),
        "two sigmoids were added, which can exceed 1; there is one, over the sum": gated(
            torch.sigmoid(through(mean)) + torch.sigmoid(through(top))
        ),
        "mean and max were added before the network; each goes through it by itself": gated(
            torch.sigmoid(through(mean + top))
        ),
        "this has a softmax over the channels; a gate is a sigmoid, one channel does not take from another": (
            gated((through(mean) + through(top)).softmax(1))
        ),
        "the gate was added to A; it multiplies": want / A.where(A != 0, 1.0) + A,
        "the ReLU between the two matrices is missing": gated(torch.sigmoid((mean + top) @ W_1.T @ W_2.T)),
        "this is the gate; multiply A by it": torch.sigmoid(through(mean) + through(top)),
    }
    error = expect_close(answer(A.clone(), W_1.clone(), W_2.clone()), want, "E", slips=slips)
    return f"2 images, 5 channels, 4 hidden numbers (largest difference {error:.1e})"


@exercise("7.4")
def ex_7_4(answer: Any) -> str:
    """Arms that share the start and no tensor."""
    for seed in (0, 3):
        nets = answer(seed)
        names = ["none", "double", "ida"]
        right = isinstance(nets, dict) and list(nets) == names
        got = list(nets) if isinstance(nets, dict) else type(nets).__name__
        expect(right, f"give back a dict with the arms {', '.join(names)}, not {got}")
        for name, net in nets.items():
            expect(
                isinstance(net, HashNetwork) and net.config["attention"] == name,
                f"the arm {name!r} is no HashNetwork with attention={name!r}",
            )
        states = {name: net.state_dict() for name, net in nets.items()}
        start = states["none"]
        places = [tensor.data_ptr() for state in states.values() for tensor in state.values()]
        expect(
            len(set(places)) == len(places),
            "two arms share a tensor: training one would move the other. Build, or copy, each by itself",
        )
        off = [key for key in start if not all(torch.equal(s[key], start[key]) for s in states.values())]
        expect(
            not off,
            f"the arms do not start alike: {', '.join(off[:2])} differ. The seed is spent by the first",
        )
        torch.manual_seed(seed)
        fresh = HashNetwork("narrow-resnet", "none", 8, in_channels=1, width=4).state_dict()
        expect(
            all(torch.equal(fresh[key], start[key]) for key in start),
            "the arms are alike, but not with the start that this seed gives: use the seed that is given",
        )
    return "two seeds, three arms each, all with the start of their seed"


@exercise("7.5")
def ex_7_5(answer: Any) -> str:
    """Mean and standard error of a paired difference."""
    a = torch.tensor([0.71, 0.64, 0.69, 0.60, 0.66, 0.73], dtype=torch.float64)
    b = torch.tensor([0.70, 0.65, 0.66, 0.58, 0.66, 0.70], dtype=torch.float64)
    got = answer(a.clone(), b.clone())
    two = isinstance(got, (tuple, list)) and len(got) == 2
    expect(two, f"give back two numbers, (mean, standard error), not a {type(got).__name__}")
    d, n = a - b, len(a)
    expect_close(got[0], d.mean(), "the mean difference", slips={"it is b − a": -d.mean()})
    slips = {
        "it is that of unpaired arms: subtract first, then take the spread": (
            a.var() / n + b.var() / n
        ).sqrt(),
        "this is the standard deviation; that of a mean is smaller by √n": d.std(),
        "divided by n, not by its root": d.std() / n,
        "the standard deviation has n − 1 below it, not n": d.std(correction=0) / n**0.5,
        "this is the variance of the mean; take the root": d.var() / n,
    }
    error = expect_close(got[1], d.std() / n**0.5, "the standard error", slips=slips)
    return f"six seeds: mean and standard error (largest difference {error:.1e})"


@exercise("7.6")
def ex_7_6(report: Any) -> str:
    """The report on a branch that was switched off."""
    return expect_report(report, "plain", "changed", "control")
