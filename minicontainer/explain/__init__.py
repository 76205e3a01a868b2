"""Telling the recorded story of a command, and proving from /proc that it is true."""
