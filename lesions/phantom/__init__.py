"""Synthetic ATLAS-shaped scans with lesions, for the demo, tests and benchmarks; never an ATLAS result."""

from lesions.phantom.cohort import make_cohort, subject_name
from lesions.phantom.subject import GENERATOR, make_subject

__all__ = ["GENERATOR", "make_cohort", "make_subject", "subject_name"]
