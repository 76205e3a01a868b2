"""What a container of an image begins with: the base's configuration, and what the recipe says over it.

As in a Dockerfile, a new entrypoint takes the base's command away, and variables, ports, volumes and labels
add up. Labels say what the image is, and of a stand-in what it really holds.

See Dockerfile reference, "ENTRYPOINT"; image-spec annotations.md for the labels of org.opencontainers.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from minicontainer.image.recipe import Config, Folder
from minicontainer.oci.image import ContainerConfig

MADE_HERE = {"org.opencontainers.image.vendor": "minicontainer"}


def configure(base: ContainerConfig, config: Config) -> ContainerConfig:
    """Give a new image's configuration."""
    variables = dict(variable.split("=", 1) for variable in base.env or ()) | config.env
    return ContainerConfig(
        env=tuple(f"{name}={value}" for name, value in variables.items()),
        entrypoint=config.entrypoint or base.entrypoint,
        cmd=config.cmd or (None if config.entrypoint else base.cmd),
        working_dir=config.workdir or base.working_dir,
        user=config.user or base.user,
        exposed_ports=added(base.exposed_ports, config.expose),
        volumes=added(base.volumes, config.volumes),
        labels={**(base.labels or {}), **config.labels},
        stop_signal=config.stop_signal or base.stop_signal,
    )


def added(there: Mapping[str, object] | None, more: tuple[str, ...]) -> dict[str, object] | None:
    """Add words to a set as these documents write it: an object whose members are empty."""
    return {**(there or {}), **{word: {} for word in more}} or None


def labelled(config: ContainerConfig, labels: Mapping[str, str]) -> ContainerConfig:
    """Add labels to a configuration."""
    return msgspec.structs.replace(config, labels={**(config.labels or {}), **labels})


def own_labels(folder: Folder) -> dict[str, str]:
    """Say what an image is."""
    named = {"title": folder.name, "description": folder.recipe.title}
    return {f"org.opencontainers.image.{key}": text for key, text in named.items()} | MADE_HERE


def story(folder: Folder) -> str:
    """Tell in a line for the history how an image's layer is made."""
    recipe = folder.recipe
    steps = [f"mmdebstrap {recipe.suite}"] * bool(recipe.suite) + [f"sh {recipe.tree}"] * bool(recipe.tree)
    for begin, words in (("apt-get install", recipe.packages), ("pip install", recipe.pip)):
        steps += [" ".join((begin, *words))] * bool(words)
    steps += [f"copy {name} to {place}" for name, place in recipe.files.items()]
    steps += [f"sh {recipe.script}"] * bool(recipe.script)
    return f"images/{folder.name}: {'; '.join(steps)}"


def stand_in_labels(folder: Folder, name: str) -> dict[str, str]:
    """Say for which public image this one stands in, and what it really holds."""
    return {"stand-in.for": name, "stand-in.holds": folder.recipe.title}
