"""The kernel door, against independent oracles: util-linux, /proc, pyroute2, strace, python's own os."""
