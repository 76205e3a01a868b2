"""Pulling, pushing and storing beside real tools: docker-registry, skopeo, umoci, podman, docker."""
