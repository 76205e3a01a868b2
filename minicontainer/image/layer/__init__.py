"""Layers: tar files that become directories of an overlay, and directories that become tar files."""
