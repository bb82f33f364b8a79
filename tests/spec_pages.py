"""The tables of docs/spec, which tests hold against the code."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "spec"


def numbers(page, heading, columns=slice(1, None)):
    """Whole numbers in the tables under a heading, a list for each row; thousands have commas."""
    text = (FOLDER / page).read_text()
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.S | re.M)[1]
    rows = [line.strip("|").split("|")[columns] for line in section.splitlines() if line.startswith("|")]
    found = [re.findall(r"\d{1,3}(?:,\d{3})+|\d+", " ".join(row)) for row in rows]
    return [[int(number.replace(",", "")) for number in row] for row in found if row]
