"""The image store: one OCI image layout, the unpacked layers beside it, and who uses what."""
