"""Behaviour of an OCI runtime, seen from command line and kernel: ours, runc and crun pass the same tests."""
