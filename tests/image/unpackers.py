"""The trees that umoci and podman make of images in a layout: what ours is compared with.

    tree = umoci_tree(layout, "latest", folder)
    with podman_trees(layout, ["one", "two"], folder) as trees:     {"one": {b".": Node(...), ...}, ...}

`unpacking_differences` compares two such trees, but for what each makes as it likes: the root where no entry
describes it, and the times of directories without an entry.
See umoci-unpack(1), podman-image-mount(1).
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests.image.trees import Node, Tree, changed, differences, read_tree
from tests.peers import peer

TIMEOUT = 120
HANGS = 20


def umoci_tree(layout: Path, tag: str, folder: Path) -> Tree:
    """Unpack an image with umoci below a new folder and read the tree. Needs root."""
    umoci = peer("umoci")
    assert umoci is not None
    subprocess.run(
        [umoci, "unpack", "--image", f"{layout}:{tag}", folder],
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    return read_tree(folder / "rootfs")


def podman_trees(layout: Path, tags: Sequence[str], folder: Path) -> Mapping[str, Tree]:
    """Let podman pull images and mount them, and read the trees. Needs root.

    The mounts are in a mount namespace of podman's own, which we look into through /proc.
    """
    podman = peer("podman")
    assert podman is not None
    storage = f"{podman} --root {folder}/root --runroot {folder}/run --storage-driver overlay"
    pulls = " ".join(f"oci:{layout}:{tag}" for tag in tags)
    script = (
        f"{storage} pull --quiet {pulls} && {storage} image mount --all --format json && echo && read end"
    )
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answer = "".join(itertools.takewhile(lambda line: line != "\n", process.stdout))
        places = mount_points(answer, tags)
        trees = {tag: read_tree(f"/proc/{process.pid}/root{place}") for tag, place in places.items()}
        process.stdin.close()
    return trees


def mount_points(answer: str, tags: Sequence[str]) -> dict[str, str]:
    """Read what podman prints: the pulled images' ids, one a line, then the mounts as JSON."""
    ids, bracket, mounts = answer.partition("[")
    places = {mount["id"]: mount["mountpoint"] for mount in json.loads(bracket + mounts)}
    return {tag: places[image_id] for tag, image_id in zip(tags, ids.split(), strict=True)}


def unpacking_differences(ours: Tree, theirs: Tree, made_after: int) -> list[str]:
    """Say where two unpacked trees differ.

    Left out are times that no entry says: theirs are later than `made_after` (nanoseconds), or the epoch.
    """

    def forget(path: bytes, node: Node) -> Node | None:
        other = theirs.get(path, node)
        if node.kind == "directory" and (other.mtime >= made_after or other.mtime == 0):
            return None if path == b"." else replace(node, mtime=0)
        return node

    return differences(changed(ours, forget), changed(theirs, forget))


def umoci_takes(layout: Path, tag: str, folder: Path) -> bool:
    """Say whether umoci unpacks an image. Needs root."""
    return takes([str(peer("umoci")), "unpack", "--image", f"{layout}:{tag}", str(folder)])


def podman_takes(layout: Path, tag: str, folder: Path) -> bool:
    """Say whether podman pulls an image. Needs root."""
    storage = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "overlay"]
    podman = [str(peer("podman")), *storage, "pull", "--quiet", f"oci:{layout}:{tag}"]
    return takes(["unshare", "--mount", "--propagation", "private", *podman])


def takes(command: Sequence[str]) -> bool:
    """Run a program to its end, or until it is clear that it hangs, which is no success."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=HANGS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
