"""Say what this machine can and cannot do for containers and virtual machines, and how to mend it."""
