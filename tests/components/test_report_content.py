"""The part of ReportGen that reads the metadata sheet; the whole is run end to end."""

import pandas as pd

from components.report_content import _places
from lesions.places import LESION_COLUMNS, approximate
from lesions.statistics import Tables

LESIONS = pd.DataFrame(
    [(f"sub-r001s00{i}", 1, 9, "left", "cortical", 1.0, 0.0, 0.0, 0.0) for i in (1, 2)],
    columns=LESION_COLUMNS[:-1],
)
WHOLE = pd.DataFrame({"subject": ["sub-r001s001", "sub-r001s002"], "lesions": 1, "voxels": 9, "largest": 9})


def test_locations_come_from_the_sheet_where_there_is_one(tmp_path):
    tables = Tables(WHOLE, {}, locations=approximate(LESIONS))
    shares, notes = _places(tables, "")
    assert set(shares["source"]) == {"approximate"}
    assert notes == ("No metadata sheet: all locations are approximate.",)
    sheet = tmp_path / "meta.csv"
    sheet.write_text("Subject ID,# Lesions RH Subcortical\nr001s002,4\n")
    shares, notes = _places(tables, str(sheet))
    told = shares[shares["source"] == "metadata"].set_index("place")
    assert told.loc["rh_subcortical", "lesions"] == told["of_lesions"].iloc[0] == 4
    assert "1 of 2 subjects have their lesion locations in it" in notes[0]


def test_tables_of_other_origin_have_no_places():
    shares, notes = _places(Tables(WHOLE, {}), "")
    assert shares.empty
    assert notes == ()
