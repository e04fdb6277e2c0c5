"""How a chapter's cell that takes too long is reported: one line instead of the kernel's whole traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Say which cell it was, and which setting of `make` gives it longer."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed and getattr(item.parent, "timed_out", False):
        seconds = float(item.config.getoption("nbval_cell_timeout"))
        report.longrepr = (
            f"{item.nodeid}: not done after CELL_SECONDS={seconds:g} s: the machine is busy "
            f"(try: make test CELL_SECONDS={2 * seconds:g}), or the kernel died."
        )
