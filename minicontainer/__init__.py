"""Containers from the ground up, in Python that can be read in an afternoon.

See READING.md for the order in which to read the packages.
"""

__version__ = "0.1.0"
