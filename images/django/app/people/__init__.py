"""A sample project: people register, log in, and see who is there."""
