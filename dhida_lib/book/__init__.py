"""What only the chapters need: figures, interactive figures, checks of the exercises.

Nothing else in the library imports it. It needs matplotlib, seaborn and ipywidgets:
``pip install 'dhida-lib[book]'``.
"""

__all__ = ["checks", "exercises", "module_picture", "plots", "widgets"]
