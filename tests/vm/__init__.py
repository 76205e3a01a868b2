"""Tests of minicontainer.vm."""
