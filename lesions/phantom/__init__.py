"""Synthetic ATLAS-shaped scans with lesions, for the demo, tests and benchmarks; never an ATLAS result."""

from lesions.phantom.cohort import GENERATOR, make_cohort, make_subject, subject_name

__all__ = ["GENERATOR", "make_cohort", "make_subject", "subject_name"]
