"""The image that is measured is the same every time, and has what layers have."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from benchmarks.sample_image import LAYERS, NAME, write_sample

SHARE = 0.002


def test_every_run_measures_the_same_image(tmp_path: Path) -> None:
    indexes = []
    for run in ("first", "second"):
        sample = write_sample(tmp_path / run, SHARE)
        indexes.append(json.loads((sample.layout / "index.json").read_bytes()))
    assert indexes[0] == indexes[1]
    [named] = indexes[0]["manifests"]
    assert named["annotations"] == {"org.opencontainers.image.ref.name": NAME}


def test_the_layers_have_the_sizes_and_entries_of_their_share(tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "sample", SHARE * 10)
    kinds = set()
    for path, (megabytes, entries) in zip(sample.tars, LAYERS, strict=True):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        kinds |= {member.type for member in members}
        assert abs(len(members) / (entries * SHARE * 10) - 1) < 0.25
        assert abs(path.stat().st_size / (megabytes * 1e6 * SHARE * 10) - 1) < 0.25
    assert kinds == {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE}
    assert 0.3 < sample.compressed / sample.unpacked < 0.4
