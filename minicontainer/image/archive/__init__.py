"""Images as one tar file: what docker save writes, and what skopeo calls oci-archive."""
