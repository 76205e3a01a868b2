"""Tests of minicontainer.image."""
