"""An OCI runtime: from bundle to running process to nothing left."""
