"""The sections about the lesions themselves: sizes, places, and how the split shares them out."""

from __future__ import annotations

import pandas as pd

from reports import distributions, rainclouds, style
from reports.blocks import Block, Heading, Image, Section, TableBlock, Text
from reports.content import RunReport
from reports.distributions import counted
from reports.frequency import draw_frequency, on_template
from reports.locations import NAMES, RULE, SOURCES, draw_locations
from reports.tables import table

MWU_LIMIT = 0.05  # the method's promise (docs/spec/method.md#hold-out-and-folds)
PHANTOM = "Phantom data: synthetic scans and lesions, no result about ATLAS or patients."


def note(phantom: bool) -> str:
    """What stands on every figure of phantom data; empty for real scans."""
    return PHANTOM if phantom else ""


def lesion_sizes(content: RunReport) -> Section:
    """Lesion sizes of the whole data set, and how many lie in each size category, whole and by part."""
    blocks = [block for name, frame in _tables(content).items() for block in _sizes(content, name, frame)]
    missing = Text("No lesion statistics in this run.", "missing")
    return Section("sizes", "Lesion sizes", tuple(blocks) or (missing,))


def _tables(content: RunReport) -> dict[str, pd.DataFrame]:
    tables = {"3d": content.tables_3d, **content.tables_plane}
    return {name: frame for name, frame in tables.items() if not frame.empty}


def _folds(content: RunReport) -> pd.DataFrame:
    """The fold map; an empty one where it puts a subject in two parts, which have no sizes of their own then."""
    folds = content.folds
    return folds if folds.empty or folds["subject"].is_unique else folds.head(0)


def _sizes(content: RunReport, name: str, frame: pd.DataFrame) -> list[Block]:
    sizes = distributions.groups(frame, _folds(content))
    whole = sizes[distributions.WHOLE]
    title = f"{distributions.table_name(name)}: lesion sizes of {distributions.rows_name(name, len(whole))}"
    counts = distributions.category_counts(sizes, name, content.grid)
    unit = distributions.category_unit(name, content.grid)
    figure = rainclouds.draw_sizes(whole, name, content.grid, note(content.phantom))
    return [
        Heading(distributions.table_name(name)),
        style.embed(figure, f"Distribution of {title}, and counts by size category", f"{title}."),
        TableBlock(table(counts, f"{title}, by size category ({unit})")),
    ]


def locations(content: RunReport) -> Section:
    """Where the lesions are, and how often each place is hit."""
    blocks: list[Block] = [Text(said) for said in content.location_notes]
    if content.locations.empty:
        blocks.append(Text("The places of the lesions are not known in this run.", "missing"))
    else:
        blocks += _shares(content)
    return Section("locations", "Lesion locations", (*blocks, _frequency(content)))


def _shares(content: RunReport) -> list[Block]:
    figure = draw_locations(content.locations, note(content.phantom))
    sources = [SOURCES[source].lower() for source in content.locations["source"].unique()]
    caption = f"Lesions by hemisphere and place ({' and '.join(sources)})"
    named = content.locations.assign(
        source=[SOURCES[source] for source in content.locations["source"]],
        place=[NAMES[place] for place in content.locations["place"]],
    )
    shown = table(named, caption, {"lesions_percent": 1, "subjects_percent": 1}, RULE)
    return [style.embed(figure, caption, f"{caption}."), TableBlock(shown)]


def _frequency(content: RunReport) -> Image | Text:
    if content.frequency is None:
        return Text("No lesion frequency map: masks on one grid are needed for it.", "missing")
    background = on_template(content.frequency)
    if background is None:
        return Text("No lesion frequency map: the scans' grid does not cover the MNI152 template.", "missing")
    count = len(content.tables_3d)
    figure = draw_frequency(content.frequency, background, count, note(content.phantom))
    caption = f"Lesion frequency map of {counted(count, 'subject')} on the MNI152 template"
    return style.embed(figure, caption, f"{caption}.", colors=256)


def split(content: RunReport) -> Section:
    """Hold-out and folds, and the proof that they are alike."""
    if content.folds.empty:
        return Section("split", "Split", (Text("No fold map in this run.", "missing"),))
    counts = content.folds.groupby("fold")["subject"].nunique()
    parts = [distributions.part_name(int(fold)) for fold in counts.index]
    caption = f"Subjects by part (n = {content.folds['subject'].nunique():,})"
    subjects = table(pd.DataFrame({"Part": parts, "Subjects": counts.to_numpy()}), caption)
    proof = [_disjoint(content.folds), TableBlock(subjects), *_quality(content.quality)]
    return Section("split", "Split", (*proof, *_parts(content)))


def _parts(content: RunReport) -> list[Block]:
    tables, folds, said = _tables(content), _folds(content), note(content.phantom)
    if not tables or folds.empty:
        return []
    caption = "Lesion sizes before the split (whole) and after it (training, hold-out)"
    whole = rainclouds.draw_split(tables, folds, content.quality, content.grid, said)
    blocks: list[Block] = [style.embed(whole, caption, f"{caption}.")]
    for name, frame in tables.items():
        figure = rainclouds.draw_folds(frame, name, folds, content.quality, content.grid, said)
        caption = (
            f"{distributions.table_name(name)}: lesion sizes of every fold and the hold-out against the whole"
        )
        blocks.append(style.embed(figure, caption, f"{caption}."))
    return blocks


def _disjoint(folds: pd.DataFrame) -> Text:
    parts = folds.groupby("subject")["fold"].nunique()
    twice = int((parts > 1).sum())
    if twice:
        verb = "is" if twice == 1 else "are"
        return Text(f"{counted(twice, 'subject')} {verb} in several parts: the results are not valid.", "bad")
    return Text("No subject is in two parts.", "good")


def _quality(quality: pd.DataFrame) -> list[Block]:
    if quality.empty:
        return [Text("The quality of the folds was not measured.", "missing")]
    low = quality[quality["mwu_p"] < MWU_LIMIT]
    known = quality["mwu_p"].notna().sum()
    alike = f"Lesion sizes: MWU p is {MWU_LIMIT} or more in all {known} comparisons."
    differ = f"Lesion sizes: MWU p is below {MWU_LIMIT} in {len(low)} of {known} comparisons."
    caption = "Lesion sizes of each fold against the other folds, and of the hold-out against all folds"
    small = (
        "n: subjects (3d) or slices with a lesion (planes). TV: total variation over six size categories. "
        "KS: Kolmogorov-Smirnov distance. MWU p: Mann-Whitney U test, two-sided."
    )
    named = quality.assign(fold=[distributions.part_name(int(fold)) for fold in quality["fold"]])
    made = table(named, caption, {"tv": 4, "ks": 4}, small)
    return [Text(differ if len(low) else alike, "bad" if len(low) else "good"), TableBlock(made)]
