"""Limits that bite: only a machine with cgroup v2 and all its controllers can show them."""
