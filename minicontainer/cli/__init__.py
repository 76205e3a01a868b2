"""The command `minicontainer`: a command line becomes one call on the layer that owns it."""
