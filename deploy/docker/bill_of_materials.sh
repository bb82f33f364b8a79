#!/bin/sh
# Writes what the image holds: sbom.json (CycloneDX) of the environment, and licenses.txt, a line per package.
set -eu
cd "$(dirname "$0")/../.."
/opt/tools/bin/cyclonedx-py environment --output-format JSON --output-file sbom.json --pyproject pyproject.toml /opt/venv/bin/python
/opt/venv/bin/python deploy/docker/licenses.py sbom.json >licenses.txt
