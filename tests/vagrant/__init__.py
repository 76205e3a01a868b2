"""The machines that others make: the Vagrantfile, the Lima template, and the script that both of them run."""
