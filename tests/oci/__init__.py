"""Tests of the specification's types, the checks, and JSON text."""
