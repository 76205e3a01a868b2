"""Tests of minicontainer.explain."""
