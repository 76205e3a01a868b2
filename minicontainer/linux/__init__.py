"""The only code that talks to the kernel: one thin wrapper per call, named as in its man page."""
