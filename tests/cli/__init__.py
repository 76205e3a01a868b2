"""Tests of minicontainer.cli."""
