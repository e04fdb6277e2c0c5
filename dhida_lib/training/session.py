"""A session that ends: how long the run will take, which epoch is the last that fits, when a state is due
(Chapter 12).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dhida_lib import _distributed
from dhida_lib.config import TrainConfig

__all__: list[str] = []

FIRST = 20
"""So many steps give the first estimate."""
_WARM = 2  # steps that are left out of it: the first ones allocate, choose algorithms, compile
_LONG = 120  # seconds; a shorter run needs no estimate


def minutes(seconds: float) -> str:
    """A duration in the unit in which one thinks of it.

    Args:
        seconds: how long.

    Returns:
        Such as ``"40 s"``, ``"3.5 min"`` or ``"6.2 h"``.
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Clock:
    """The time of one call of `train`.

    Args:
        config: epochs, budget, and how often a state is written.
        steps: steps of an epoch.
        done: epochs that earlier sessions made.
        now: the time in seconds.
    """

    def __init__(
        self, config: TrainConfig, steps: int, done: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.config, self.steps, self.now = config, steps, now
        self.left = config.epochs - done
        self.begun = self.epoch_begun = self.saved = now()
        self._first: tuple[int, float] | None = None
        self._told = False

    @property
    def end(self) -> float:
        """When the budget is used up."""
        return float("inf") if self.config.budget is None else self.begun + 60 * self.config.budget

    def marks(self, number: int) -> bool:
        """Is this step (from 0) one at which the clock wants to know that all before it is done?"""
        return not self._told and number + 1 in (_WARM, min(FIRST, self.steps))

    def estimate(self, number: int) -> tuple[str | None, bool]:
        """Called at the steps that `marks` names.

        Args:
            number: the step, from 0; all of it is done.

        Returns:
            What there is to say, and whether this epoch will end in time.
        """
        at = self.now()
        if self._first is None:
            self._first = (number, at)
            return None, True
        self._told = True
        step = (at - self._first[1]) / max(number - self._first[0], 1)
        epoch = step * self.steps
        ends = at + step * (self.steps - number - 1)
        fits = bool(_distributed.collect(ends <= self.end)[0])
        budget = self.config.budget
        if budget is None and epoch * self.left < _LONG:
            return None, fits
        text = f"about {minutes(epoch)} an epoch, {minutes(epoch * self.left)} for the {self.left} to come"
        if budget is not None:
            count = 1 + int((self.end - ends) // max(epoch, 1e-9)) if fits else 0
            text += f"; the budget of {budget:g} min is enough for {min(count, self.left)}"
        return text, fits

    def epoch_done(self) -> bool:
        """Called after an epoch: will another one, as long as this one, end in time?"""
        at = self.now()
        last, self.epoch_begun = at - self.epoch_begun, at
        self.left -= 1
        return bool(_distributed.collect(at + last <= self.end)[0])

    def due(self, epoch: int) -> bool:
        """Is a state to be written after this epoch (from 1)? If so, the next one is counted from here."""
        epochs, wait = self.config.rhythm
        at = self.now()
        found = at - self.saved >= 60 * (wait or 0) if epochs is None else epoch % epochs == 0
        found = bool(_distributed.collect(found)[0])
        if found:
            self.saved = at
        return found
