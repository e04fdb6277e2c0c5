"""The first lines of every chapter: the profile, the seed, and what this machine is."""

from __future__ import annotations

import torch

from dhida_lib._validate import choice
from dhida_lib.book.plots import use_style
from dhida_lib.config import PROFILES, RunConfig
from dhida_lib.training import seed_everything

__all__ = ["start"]


def start(profile: str = "fast", seed: int = 0) -> RunConfig:
    """Open a chapter: choose the profile, seed torch, and say what this machine is.

    Args:
        profile: ``"fast"`` or ``"full"``.
        seed: seed of torch's generators.

    Returns:
        The profile's settings.

    Raises:
        ValueError: if there is no such profile.
    """
    from dhida_lib import __version__

    config = PROFILES[choice("profile", profile, PROFILES)]
    seed_everything(seed)
    use_style()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    version = torch.__version__.split("+")[0]
    print(f"dhida_lib {__version__} · torch {version} · {gpu or 'CPU'} · profile {profile!r}")
    if profile == "full" and gpu is None:
        print('No GPU here: "full" will take days. On Colab: Runtime → Change runtime type → T4 GPU.')
    return config
