"""The parts that a page is made of; the template knows how each one looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reports.tables import Table


@dataclass(frozen=True)
class Text:
    """A paragraph. `tone` is "" (plain), "good", "bad" or "missing"."""

    text: str
    tone: str = ""
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class TableBlock:
    """A table of finished texts."""

    table: Table
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Image:
    """A figure.

    Attributes:
        uri: Its `data:` address.
        alt: What is seen, for those who cannot see it.
        caption: Below it.
        width: How wide it is shown, CSS pixels, where there is room.
        height: How high it then is, so that nothing moves while the page loads.
    """

    uri: str
    alt: str
    caption: str
    width: int
    height: int
    kind: ClassVar[str] = "image"


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side; a text stands where one could not be drawn."""

    items: tuple[Image | Text, ...]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Tile:
    """A headline number: what, how much, and of how many."""

    label: str
    value: str
    detail: str
    strong: bool = False


@dataclass(frozen=True)
class Tiles:
    """Headline numbers side by side."""

    tiles: tuple[Tile, ...]
    kind: ClassVar[str] = "tiles"


@dataclass(frozen=True)
class Code:
    """Text kept as it is."""

    text: str
    label: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    texts: tuple[str, ...]
    kind: ClassVar[str] = "bullets"


@dataclass(frozen=True)
class Details:
    """What few readers want: closed until it is opened, and not printed while closed."""

    summary: str
    blocks: tuple[Block, ...]
    kind: ClassVar[str] = "details"


Block = Text | TableBlock | Image | Gallery | Tiles | Code | Heading | Bullets | Details


@dataclass(frozen=True)
class Section:
    """A heading, its address within the page, and what stands under it."""

    id: str
    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Part:
    """Sections that belong together, under one name in the table of contents."""

    heading: str
    sections: tuple[Section, ...]
