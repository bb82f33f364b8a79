"""Lesion locations of a data set: from its metadata sheet where that says so, else approximate."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lesions import location

METADATA, APPROXIMATE = "metadata", "approximate"
# What ATLAS's sheet counts per subject (docs/spec/method.md#data-set): hemisphere and location; "other" has no side.
SHEET_PLACES = ("lh_cortical", "lh_subcortical", "rh_cortical", "rh_subcortical", "other")
PLACES = (*SHEET_PLACES, "unknown")
LESION_COLUMNS = ("subject", *location.COLUMNS, "source")
SUBJECT_COLUMNS = ("subject", *PLACES, "source")
_LOCATION = {place: place.split("_")[-1] for place in SHEET_PLACES}
_SIDE = {place: {"lh": "left", "rh": "right"}[place[:2]] for place in SHEET_PLACES if place != "other"}


@dataclass(frozen=True, eq=False)
class Locations:
    """Where the lesions of a data set are.

    Attributes:
        lesions: A row per lesion: subject, lesion (rank, from 1), voxels, hemisphere, location (cortical,
            subcortical, other, unknown), share of its voxels there, x, y, z (center, mm), source.
        subjects: A row per subject: its number of lesions in each of `PLACES`, and source: "metadata" (counted
            by the people who made the data set) or "approximate" (`lesions.location`).
    """

    lesions: pd.DataFrame
    subjects: pd.DataFrame

    def summary(self) -> pd.DataFrame:
        """Shares by source and place.

        Returns:
            Columns source, place, lesions, of_lesions, lesions_percent, subjects (with a lesion there),
            of_subjects, subjects_percent; places without any are there, but "unknown".
        """
        rows = []
        for source in (METADATA, APPROXIMATE):
            counts = self.subjects.loc[self.subjects["source"] == source, list(PLACES)]
            total = int(counts.to_numpy().sum())
            for place in PLACES:
                here, holders = int(counts[place].sum()), int((counts[place] > 0).sum())
                if total and (here or place != "unknown"):
                    percents = 100 * here / total, 100 * holders / len(counts)
                    rows.append((source, place, here, total, percents[0], holders, len(counts), percents[1]))
        names = "source place lesions of_lesions lesions_percent subjects of_subjects subjects_percent"
        return pd.DataFrame(rows, columns=names.split()).round({"lesions_percent": 2, "subjects_percent": 2})


def approximate(lesions: pd.DataFrame) -> Locations:
    """Locations by anatomy alone.

    Args:
        lesions: Columns subject and those of `lesions.location.locate`.
    """
    lesions = lesions.assign(source=APPROXIMATE)[list(LESION_COLUMNS)]
    named = lesions["hemisphere"].str[0] + "h_" + lesions["location"]
    place = named.where(named.isin(SHEET_PLACES), lesions["location"])
    counts = pd.crosstab(lesions["subject"], place).reindex(
        index=lesions["subject"].unique(), columns=list(PLACES), fill_value=0
    )
    counts.columns.name = None
    subjects = counts.rename_axis("subject").reset_index().assign(source=APPROXIMATE)
    return Locations(lesions, subjects)


def with_sheet(found: Locations, counts: pd.DataFrame) -> Locations:
    """Lets a metadata sheet overrule anatomy, for the subjects that it counts lesions of.

    The sheet counts lesions per subject and place, it does not say which is which: a lesion takes its place from
    the sheet where that names one place alone, and stays approximate otherwise.

    Args:
        found: By `approximate`.
        counts: By subject (index), columns `SHEET_PLACES`; subjects that are not in `found` are passed over.
    """
    counts = counts[counts.index.isin(found.subjects["subject"])]
    subjects = found.subjects.set_index("subject")
    subjects.loc[counts.index, list(SHEET_PLACES)] = counts
    subjects.loc[counts.index, "unknown"] = 0
    subjects.loc[counts.index, "source"] = METADATA
    single = counts[(counts > 0).sum(axis=1) == 1].idxmax(axis=1)
    subjects[list(PLACES)] = subjects[list(PLACES)].astype("int64")
    told = found.lesions["subject"].map(single)
    lesions = found.lesions.assign(source=found.lesions["source"].where(told.isna(), METADATA))
    for column, of_place in (("location", _LOCATION), ("hemisphere", _SIDE)):
        value = told.map(of_place)
        lesions[column] = lesions[column].where(value.isna(), value)
    return Locations(lesions, subjects.reset_index())
