"""Behaviour of an OCI runtime, told by a command line and a kernel: ours, runc and crun pass the same tests."""
