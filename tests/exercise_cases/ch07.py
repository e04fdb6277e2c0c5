"""Wrong answers to the exercises of Chapter 7, and the sentence that each must get."""

import copy

import torch

from dhida_lib.models import HashNetwork


def absorbed(weight=2.0, bias=1.0, attention="none"):
    def answer(model):
        new = HashNetwork(**{**model.config, "attention": attention})
        new.load_state_dict(model.state_dict())
        with torch.no_grad():
            new.hash_layer.weight.mul_(weight)
            new.hash_layer.bias.mul_(bias)
        return new

    return answer


def in_place(model):
    with torch.no_grad():
        model.hash_layer.weight.mul_(2)
    model.attention = torch.nn.Identity()
    return model


def first_convolution(model):
    new = absorbed(weight=1.0)(model)
    with torch.no_grad():
        new.backbone.conv1.weight.mul_(2)
    return new


def through(x, W_1, W_2, relu=True):
    hidden = x @ W_1.T
    return (hidden.relu() if relu else hidden) @ W_2.T


def gate(A, W_1, W_2, relu=True):
    return torch.sigmoid(sum(through(x, W_1, W_2, relu) for x in (A.mean((2, 3)), A.amax((2, 3)))))


def wide(x):
    return x[:, :, None, None]


def two_sigmoids(A, W_1, W_2):
    return wide(sum(torch.sigmoid(through(x, W_1, W_2)) for x in (A.mean((2, 3)), A.amax((2, 3))))) * A


def softmax_gate(A, W_1, W_2):
    return wide(sum(through(x, W_1, W_2) for x in (A.mean((2, 3)), A.amax((2, 3)))).softmax(1)) * A


NAMES = ("none", "double", "ida")


def net(name):
    return HashNetwork("narrow-resnet", name, 8, in_channels=1, width=4)


def careless(seed):
    torch.manual_seed(seed)
    return {name: net(name) for name in NAMES}


def numbered(seed):
    nets = {}
    for k, name in enumerate(NAMES):
        torch.manual_seed(seed + k)
        nets[name] = net(name)
    return nets


def shared(seed):
    nets = careless(seed)
    for name in NAMES[1:]:
        nets[name].backbone, nets[name].hash_layer = nets["none"].backbone, nets["none"].hash_layer
    return nets


def always_zero(seed):
    nets = {}
    for name in NAMES:
        torch.manual_seed(0)
        nets[name] = net(name)
    return nets


def one_copied(seed):
    torch.manual_seed(seed)
    return {name: copy.deepcopy(net("none")) for name in NAMES}


REPORT = {
    "prediction": "It falls because the term is large.",
    "plain": [0.739, 0.729, 0.727],
    "changed": [0.714, 0.715, 0.682],
    "control": [0.744, 0.732, 0.719],
    "conclusion": "It falls; nothing is shown for other networks.",
}

WRONG = {
    "7.1": [
        ("Q transposed", lambda B, b, C, c: (C.T @ B, B.T @ c), "this is the transpose"),
        ("sign", lambda B, b, C, c: (-B.T @ C, B.T @ c), "the sign is turned round"),
        ("the wrong axis", lambda B, b, C, c: (B @ C.T, B.T @ c), "channels×channels"),
        ("the other bias", lambda B, b, C, c: (B.T @ C, C.T @ b), "the same for all i and cancels"),
        ("both biases", lambda B, b, C, c: (B.T @ C, B.T @ c + C.T @ b), "both biases are in it"),
        ("no bias", lambda B, b, C, c: (B.T @ C, torch.zeros_like(B[0])), "one bias does not cancel"),
        ("through W_C", lambda B, b, C, c: (B.T @ C, C.T @ c), "through the other convolution"),
        ("only Q", lambda B, b, C, c: B.T @ C, "give back two things"),
    ],
    "7.2": [
        ("the bias doubled, too", absorbed(bias=2.0), "it never met the 2"),
        ("nothing doubled", absorbed(weight=1.0), "nothing was doubled"),
        ("halved", absorbed(weight=0.5), "W was halved"),
        ("still the doubled model", absorbed(weight=1.0, attention="double"), "there is still Doubled"),
        ("a plain copy", copy.deepcopy, "there is still Doubled"),
        ("the old model changed", in_place, "the old model was changed"),
        ("the first convolution doubled", first_convolution, "the first convolution was changed"),
    ],
    "7.3": [
        (
            "mean only",
            lambda A, V, W: wide(torch.sigmoid(through(A.mean((2, 3)), V, W))) * A,
            "the max is missing",
        ),
        (
            "max only",
            lambda A, V, W: wide(torch.sigmoid(through(A.amax((2, 3)), V, W))) * A,
            "the mean is missing",
        ),
        ("two sigmoids", two_sigmoids, "two sigmoids were added"),
        (
            "added before the network",
            lambda A, V, W: wide(torch.sigmoid(through(A.mean((2, 3)) + A.amax((2, 3)), V, W))) * A,
            "each goes through it by itself",
        ),
        ("softmax", softmax_gate, "a gate is a sigmoid"),
        ("added to A", lambda A, V, W: wide(gate(A, V, W)) + A, "it multiplies"),
        ("no ReLU", lambda A, V, W: wide(gate(A, V, W, relu=False)) * A, "the ReLU between"),
        ("the gate alone", gate, "this is the gate"),
    ],
    "7.4": [
        ("as it was", careless, "do not start alike"),
        ("another seed for each", numbered, "do not start alike"),
        ("one backbone for all", shared, "two arms share a tensor"),
        ("always seed 0", always_zero, "use the seed that is given"),
        ("copies of one arm", one_copied, "is no HashNetwork with attention='double'"),
        ("a list", lambda seed: list(careless(seed).values()), "give back a dict"),
    ],
    "7.5": [
        (
            "unpaired",
            lambda a, b: ((a - b).mean(), (a.var() / len(a) + b.var() / len(b)).sqrt()),
            "unpaired arms",
        ),
        ("the deviation", lambda a, b: ((a - b).mean(), (a - b).std()), "that of a mean is smaller"),
        ("divided by n", lambda a, b: ((a - b).mean(), (a - b).std() / len(a)), "not by its root"),
        (
            "with n instead of n - 1",
            lambda a, b: ((a - b).mean(), (a - b).std(correction=0) / len(a) ** 0.5),
            "has n − 1 below it",
        ),
        ("the variance", lambda a, b: ((a - b).mean(), (a - b).var() / len(a)), "take the root"),
        ("b minus a", lambda a, b: ((b - a).mean(), (a - b).std() / len(a) ** 0.5), "it is b − a"),
        ("only the mean", lambda a, b: (a - b).mean(), "give back two numbers"),
    ],
    "7.6": [
        ("no control", {k: v for k, v in REPORT.items() if k != "control"}, "no entry 'control'"),
        ("two groups", {k: v[:2] if isinstance(v, list) else v for k, v in REPORT.items()}, "fewer than 3"),
        ("control equals plain", REPORT | {"control": REPORT["plain"]}, "does the change reach the run"),
        ("no reason", REPORT | {"prediction": "falls"}, "should be a sentence"),
    ],
}
