"""`podman build`: each RUN is a container that buildah drives without conmon, polling its `state`."""

from __future__ import annotations

import pytest

from tests.podman import NEEDS
from tests.podman.engine import IMAGE, Podman

pytestmark = pytest.mark.requires(*NEEDS)

CONTAINERFILE = f"""
FROM {IMAGE}
WORKDIR /w/orkdir
COPY given .
RUN cat given > copied && id -u > who
RUN --mount=type=tmpfs,target=/memory touch /memory/x && ls /memory > /tmp/memory
USER bob
RUN id -u > /tmp/who
CMD ["cat", "copied", "who", "/tmp/who", "/tmp/memory"]
"""


def test_an_image_is_built_and_run(podman: Podman) -> None:
    context = podman.folder / "context"
    context.mkdir()
    (context / "given").write_text("given\n")
    (context / "Containerfile").write_text(CONTAINERFILE)
    podman.succeed("build", "--quiet", "--network", "none", "--tag", "built", str(context))
    assert podman.succeed("run", "--rm", "built") == "given\n0\n1000\nx"
    podman.succeed("rmi", "built")


def test_a_failing_step_ends_the_build_with_its_code(podman: Podman) -> None:
    context = podman.folder / "failing"
    context.mkdir()
    (context / "Containerfile").write_text(f"FROM {IMAGE}\nRUN echo before; exit 9\n")
    done = podman.call("build", "--network", "none", str(context))
    assert done.returncode == 9
    assert "before" in done.stdout
    (context / "Containerfile").write_text(f'FROM {IMAGE}\nRUN ["nonexistent"]\n')
    done = podman.call("build", "--network", "none", str(context))
    assert done.returncode != 0
    assert "not found in $PATH" in done.stderr
