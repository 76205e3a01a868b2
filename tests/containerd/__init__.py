"""containerd, unmodified, with its runc shim pointed at the runtime under test."""
