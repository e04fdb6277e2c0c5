"""A data set is one object: how it is read, what its classes and protocols are, what a picture of it goes
through, and which run its tables start from (§4.1; Chapter 2).

Ours stand in `dhida_lib.data.sources`, a file each. One of your own is a subclass, registered under a name:

    @register_dataset("flowers")
    class Flowers(DataSource):
        classes = ("daisy", "rose")
        protocols = (Protocol("drawn", 10, 50, True, None, "Drawn by the seed."),)
        preprocess = Preprocess(channels=3, side=64)

        def read(self, root):
            return Images(pixels, labels)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from dhida_lib._registry import Registry
from dhida_lib._validate import bad, choice, instance, positive_int
from dhida_lib.backbones.base import ImageForm
from dhida_lib.data.preprocess import Preprocess
from dhida_lib.data.protocols import Protocol
from dhida_lib.data.splits import Images, RetrievalData, assemble

__all__ = ["DATASETS", "DataSource", "register_dataset"]

Root = str | os.PathLike[str] | None


class DataSource:
    """A data set. A subclass sets the attributes, and defines `read`, or `load` if it does not fit in memory.

    Attributes:
        name: its name, set when it is registered.
        label: how tables and pages call it; empty: its name.
        classes: names of the classes, by id.
        protocols: the ways in which it is split; the first is the default.
        preprocess: what happens to a picture of it.
        base: settings that all runs of its tables share, by flat name; ``"profile"`` is the profile that they
            start from (default ``"full"``).
        settings_from: name of the data set whose search for settings it takes; None: its own.
        widens: how many values the search for settings may add to a grid whose best value is at its end.
        fixed_split: True if its lists are the split, whatever the seed.
        to_pretrain: name of the protocol by which `pretrain` reads it; None: the first.
        has_folder: True for the one whose place the setting ``folder`` says.

    Source: §4.1; built in Chapter 2.
    """

    name: str = ""
    label: str = ""
    classes: tuple[str, ...] = ()
    protocols: tuple[Protocol, ...] = ()
    preprocess: Preprocess
    base: ClassVar[dict[str, Any]] = {}
    settings_from: str | None = None
    widens: int = 0
    fixed_split: bool = False
    to_pretrain: str | None = None
    has_folder: bool = False

    def protocol(self, which: str | Protocol | None = None) -> Protocol:
        """One of the protocols.

        Args:
            which: its name, None for the first, or a `Protocol` of your own.

        Returns:
            The protocol.

        Raises:
            ValueError: for an unknown name; the message lists the known ones.
        """
        if isinstance(which, Protocol):
            return which
        known = {p.name: p for p in self.protocols}
        return self.protocols[0] if which is None else known[choice("protocol", which, known)]

    def sized(self, image_size: int | None = None, form: ImageForm | None = None) -> Preprocess:
        """What happens to a picture on its way to a network.

        Args:
            image_size: side in pixels; None takes the form's, or else the data set's own.
            form: the images that the network's weights were made for: their mean, standard deviation and side
                take the place of the data set's, if it has as many channels. None: no such weights.

        Returns:
            The preprocessing.

        Raises:
            ValueError: if ``image_size`` is no positive integer, or ``form`` is none.
        """
        own = self.preprocess
        side = own.side if image_size is None else positive_int("image_size", image_size)
        if form is not None:
            instance("form", form, ImageForm, "the ImageForm of a backbone, or None")
        if form is not None and form.channels == own.channels:
            own = replace(own, mean=form.mean, std=form.std, interpolation=form.interpolation)
            side = form.side if image_size is None else side
        return own if side == own.side else self.at_side(own, side)

    def at_side(self, preprocess: Preprocess, side: int) -> Preprocess:
        """A preprocessing at another side in pixels; images are kept as they are, and resized."""
        return replace(preprocess, side=side)

    def read(self, root: Root = None) -> Images:
        """Read the whole data set.

        Args:
            root: the folder that holds it; None: the shipped one, or ``$DHIDA_ROOT/name``.

        Returns:
            Its images and labels.

        Raises:
            FileNotFoundError: if it is not there; the message says how to get it.
            ValueError: if a file is damaged.
        """
        raise NotImplementedError

    def load(
        self,
        root: Root = None,
        seed: int = 0,
        protocol: str | Protocol | None = None,
        image_size: int | None = None,
        form: ImageForm | None = None,
    ) -> RetrievalData:
        """Read and split; see `dhida_lib.load_dataset` for the arguments and errors.

        Returns:
            The three splits; their ``indices`` are rows of what `read` gave.
        """
        found, preprocess = self.protocol(protocol), self.sized(image_size, form)
        images = self.read(root)
        return assemble(self.name, images, found, seed, self.classes, preprocess)


DATASETS: Registry[DataSource] = Registry("data set", "dhida_lib.datasets")
"""Data set → its source."""

S = TypeVar("S", bound=type[DataSource] | DataSource)


def register_dataset(name: str) -> Callable[[S], S]:
    """Make a data set known under a name, everywhere: `load_dataset`, settings, tables, the command line.

    Args:
        name: the name, as in ``load_dataset(name)``.

    Returns:
        A decorator for a subclass of `DataSource` (which is built without arguments) or for an object of one.

    Raises:
        ValueError: if the name is taken, or what is decorated is no data source.
    """

    def add(thing: S) -> S:
        source = thing() if isinstance(thing, type) else thing
        if not isinstance(source, DataSource):
            raise bad("register_dataset", type(source).__name__, "used on a DataSource")
        source.name = name
        source.label = source.label or name
        DATASETS.add(name, source)
        return thing

    return add
