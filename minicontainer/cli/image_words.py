"""How the words of the image commands are read, and what most of them begin with: the images of the store.

See docs/images.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from minicontainer.cli.failure import on_one_line, report
from minicontainer.cli.image_format import moment
from minicontainer.errors import Error, SpecError
from minicontainer.image import platform as platforms
from minicontainer.image import reference as references
from minicontainer.image.layer.record import read_record
from minicontainer.image.reference import Reference
from minicontainer.image.store.images import Image, load
from minicontainer.image.store.names import Named, roots
from minicontainer.image.store.store import Store
from minicontainer.oci.image import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minicontainer.cli.options import Value

    Values = Mapping[str, Value]

NONE = "<none>"
SWITCH = {"true": True, "1": True, "false": False, "0": False}


def word(values: Values, name: str) -> str:
    """Give an option's or argument's word, "" if it was not given."""
    value = values.get(name)
    return value if isinstance(value, str) else ""


def words(values: Values, name: str) -> list[str]:
    """Give the words of what may be given several times."""
    value = values.get(name)
    return value if isinstance(value, list) else []


def switch(values: Values, name: str, *, usual: bool) -> bool:
    """Read `--name=false`. Raises SpecError."""
    given = word(values, name)
    if given and given.lower() not in SWITCH:
        raise SpecError(f"--{name.replace('_', '-')}", f"{given!r} is neither true nor false")
    return SWITCH[given.lower()] if given else usual


def wanted_platform(values: Values) -> Platform:
    """Read `--platform`; else it is this machine's. Raises SpecError."""
    given = word(values, "platform")
    return platforms.parse(given) if given else platforms.host()


def read_filters(values: Values, known: tuple[str, ...]) -> list[tuple[str, str]]:
    """Read `--filter KEY=VALUE` as often as given. Raises SpecError."""
    found = []
    for given in words(values, "filter"):
        key, equals, value = given.partition("=")
        if not equals or key not in known:
            raise SpecError(
                "--filter", f"invalid filter {given!r}", f"KEY=VALUE; keys are {', '.join(known)}"
            )
        found.append((key, value))
    return found


def for_each(arguments: list[str], act: Callable[[str], None]) -> int:
    """Do it for each argument; one that fails is told and does not keep the others from being tried."""
    code = 0
    for argument in arguments:
        try:
            act(argument)
        except Error as problem:
            code = report(problem, "image")
    return code


def warn(line: str) -> None:
    """Say on standard error what goes on all the same."""
    sys.stderr.write(f"minicontainer: {on_one_line(line)}\n")


# --- the images of the store -----------------------------------------------------------------------


def all_images(store: Store) -> Iterator[Image]:
    """Read every image that index.json lists; of one that cannot be read it is said so on standard error."""
    for named in roots(store):
        try:
            yield load(store, named)
        except Error as problem:
            warn(f"{named.name or NONE}: {problem}")


def shown_name(image: Image) -> str:
    """Give an image's name as people write it; "" if it has none."""
    return image.named.reference.familiar() if image.named.name else ""


def is_name(found: Named, given: str) -> bool:
    """Tell whether an image was found by its name, and not by its id."""
    try:
        return references.parse(given).name == found.reference.name
    except SpecError:
        return False


def repository(reference: Reference) -> str:
    """Give a reference's repository as people write it."""
    return Reference(reference.domain, reference.path).familiar()


def size_of(store: Store, image: Image) -> int:
    """Say how many bytes an image's layers have, unpacked; of a layer that is not unpacked, its blob."""
    return sum(layer_sizes(store, image))


def layer_sizes(store: Store, image: Image) -> list[int]:
    """Say it for each layer, lowest first."""
    return [
        layer_size(store, diff_id, blob.size)
        for diff_id, blob in zip(image.diff_ids, image.manifest.layers, strict=True)
    ]


def layer_size(store: Store, diff_id: str, otherwise: int) -> int:
    """Read how many bytes an unpacked layer has; `otherwise` is for one that is not unpacked."""
    try:
        return read_record(store.layer(diff_id)).size
    except OSError:
        return otherwise


def created(image: Image) -> float:
    """Say when an image was made, in seconds since 1970; 0 for one that does not say it."""
    when = moment(image.config.created)
    return when.timestamp() if when else 0.0


def labels_of(image: Image) -> dict[str, str]:
    """Give the labels that an image's configuration has."""
    return (image.config.config and image.config.config.labels) or {}


def has_label(labels: dict[str, str], wanted: str) -> bool:
    """Tell whether there is a label, with a value if one is asked for."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
