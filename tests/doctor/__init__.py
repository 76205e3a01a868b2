"""The doctor: on recorded machines, and on this one."""
