"""The first lines of every chapter: the profile, the seed, and what this machine is."""

from __future__ import annotations

import torch

from dhida_lib._validate import choice
from dhida_lib.book.plots import use_style
from dhida_lib.config import PROFILES, RunConfig
from dhida_lib.training import seed_everything

__all__ = ["start"]

_SHIPPED = "fast"  # the profile that needs nothing but what ships


def start(profile: str = "fast", seed: int = 0) -> RunConfig:
    """Open a chapter: choose the profile, seed torch, and say what this machine is.

    Args:
        profile: ``"fast"`` or ``"full"``.
        seed: seed of torch's generators.

    Returns:
        The profile's settings; those of ``"fast"`` if images or weights are not here, which is then said.

    Raises:
        ValueError: if there is no such profile.
    """
    from dhida_lib import __version__

    config = PROFILES[choice("profile", profile, PROFILES)]
    absent = missing(config) if profile != _SHIPPED else None
    seed_everything(seed)
    use_style()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    version = torch.__version__.split("+")[0]
    print(f"dhida_lib {__version__} · torch {version} · {gpu or 'CPU'} · profile {profile!r}")
    if profile != _SHIPPED and gpu is None:
        print(f'No GPU here: "{profile}" will take days. On Colab: Runtime → Change runtime type → T4 GPU.')
    if absent is not None:
        print(f"Until the following is here, this page goes on with the profile {_SHIPPED!r}: {absent}")
        print(f'A data set is looked for in the folder os.environ["DHIDA_ROOT"] + "/{config.data.dataset}".')
        return PROFILES[_SHIPPED]
    return config


def missing(config: RunConfig) -> str | None:
    """What a run needs and this machine does not have.

    Args:
        config: the run.

    Returns:
        A sentence that names the images or the weights and says how to get them; None if all is here.

    Source: used by the setup cell; Chapter 12.
    """
    from dhida_lib.runs import build

    try:
        build(config)
    except (FileNotFoundError, ImportError) as error:
        return str(error)
    return None
