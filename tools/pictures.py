"""Draw the picture of the welcome page, book/_static/pipeline.svg: as `dhida_lib.book.plots` draws it.

    python tools/pictures.py

The chapters draw it when they run; a page of plain Markdown needs a file. tests/test_house.py compares the
file with what this script draws.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import matplotlib  # noqa: E402

from dhida_lib import plots  # noqa: E402


def pipeline_svg() -> str:
    """The picture as SVG text: the same bytes whenever the same matplotlib draws it."""
    with matplotlib.rc_context({"svg.hashsalt": "dhida", "svg.fonttype": "path"}):
        plots.use_style()
        buffer = io.StringIO()
        fig = plots.pipeline()
        fig.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
        matplotlib.pyplot.close(fig)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


if __name__ == "__main__":
    path = ROOT / "book" / "_static" / "pipeline.svg"
    path.write_text(pipeline_svg(), encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
