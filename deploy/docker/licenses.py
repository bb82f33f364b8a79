"""A line per package of a CycloneDX file: name, version, license; and what is shipped besides Python's packages."""

import json
import sys
from pathlib import Path

NOTICES = Path(__file__).parents[2] / "THIRD_PARTY_NOTICES.md"
COLUMNS = 5  # of the table that says what is copied: component, version, license, where, part of


def license_of(component: dict) -> str:
    """Its license as it is declared, or what stands in for it."""
    declared = component.get("licenses", [])
    found = [d.get("expression") or d["license"].get("id") or d["license"].get("name", "") for d in declared]
    return " and ".join(" ".join(text.split())[:60] for text in found if text) or "not declared"


def copied(notices: str) -> list[tuple[str, str, str]]:
    """What the third-party notices list as a part of images: component and folder, version, license."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in notices.splitlines()]
    table = [row for row in rows if len(row) == COLUMNS]
    return [(f"{row[0]} ({row[3].strip('`')})", row[1], row[2]) for row in table if "images" in row[4]]


def main(path: Path) -> None:
    """Prints the table."""
    components = json.loads(path.read_text())["components"]
    rows = [(one["name"], one.get("version", ""), license_of(one)) for one in components]
    for row in sorted([*rows, *copied(NOTICES.read_text())], key=lambda row: row[0].lower()):
        print("\t".join(row))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
