"""Shim for tools that still call setup.py (Beam's --setup_file); everything is in pyproject.toml."""

from setuptools import setup

setup()
