"""Write an image as the archive that `ctr image import` takes: an OCI image layout in a tar file.

See image-spec, image-layout.md, manifest.md and config.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEDIA = "application/vnd.oci.image."


class Archive:
    """An image layout that grows blob by blob."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w")  # noqa: SIM115 - finish() closes it

    def add(self, name: str, data: bytes) -> None:
        """Add one file."""
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o644
        self._tar.addfile(entry, io.BytesIO(data))

    def add_blob(self, kind: str, data: bytes) -> dict[str, object]:
        """Add content under its digest and give its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        self.add(f"blobs/sha256/{digest}", data)
        return {"mediaType": MEDIA + kind, "digest": f"sha256:{digest}", "size": len(data)}

    def add_json(self, kind: str, content: object) -> dict[str, object]:
        """Add a document."""
        return self.add_blob(kind, json.dumps(content).encode())

    def finish(self, manifest: dict[str, object], name: str) -> None:
        """Name the image and close the archive."""
        manifest["annotations"] = {"io.containerd.image.name": name}
        self.add("index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())
        self.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        self._tar.close()


def write_archive(path: Path, layer: Path, name: str) -> None:
    """Write the image `name` with one uncompressed layer."""
    archive = Archive(path)
    content = archive.add_blob("layer.v1.tar", layer.read_bytes())
    machine = platform.machine()
    config = archive.add_json(
        "config.v1+json",
        {
            "architecture": ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [content["digest"]]},
        },
    )
    manifest = archive.add_json(
        "manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": MEDIA + "manifest.v1+json",
            "config": config,
            "layers": [content],
        },
    )
    archive.finish(manifest, name)
