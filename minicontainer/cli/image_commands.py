"""The words of `minicontainer image`, and those of them that docker also has without `image` before them.

See minicontainer/cli/options.py for what an entry means; docs/images.md for the whole story.
"""

from __future__ import annotations

from minicontainer.cli.options import FLAG, LIST, WORD, Command, Option

QUIET_IDS = Option("quiet", ("-q", "--quiet"), FLAG, "", "Only print the ids.")
QUIET = Option("quiet", ("-q", "--quiet"), FLAG, "", "Only print the result.")
NO_TRUNC = Option("no_trunc", ("--no-trunc",), FLAG, "", "Do not shorten ids and texts.")
FORMAT = Option(
    "format", ("--format",), WORD, "FORMAT", "table, json, a template as '{{.ID}}', or 'table TEMPLATE'."
)
FILTER = Option(
    "filter", ("-f", "--filter"), LIST, "KEY=VALUE", "Only those: reference, dangling, label, before, since."
)
PLATFORM = Option(
    "platform", ("--platform",), WORD, "OS/ARCH[/VARIANT]", "For which machine (else for this one)."
)
TLS_VERIFY = Option(
    "tls_verify", ("--tls-verify",), WORD, "true|false", "With false: take any certificate, or plain HTTP."
)
ALL_TAGS = Option("all_tags", ("-a", "--all-tags"), FLAG, "", "All tags of the repository.")
PROGRESS_JSON = Option("json", ("--json",), FLAG, "", "Tell the progress as JSON objects, one a line.")

PULL = Command(
    "minicontainer.cli.image_transfer:pull",
    (ALL_TAGS, PLATFORM, QUIET, PROGRESS_JSON, TLS_VERIFY),
    ("NAME",),
    "Fetch an image from a registry: NAME[:TAG|@DIGEST].",
)
PUSH = Command(
    "minicontainer.cli.image_transfer:push",
    (ALL_TAGS, QUIET, PROGRESS_JSON, TLS_VERIFY),
    ("NAME",),
    "Send an image to the registry that its name begins with: NAME[:TAG].",
)
LIST_IMAGES = Command(
    "minicontainer.cli.image_list:images",
    (
        Option("all", ("-a", "--all"), FLAG, "", "Accepted for docker's sake: all are shown anyway."),
        Option("digests", ("--digests",), FLAG, "", "Show the digests, too."),
        FILTER,
        FORMAT,
        Option("json", ("--json",), FLAG, "", "The same as --format json."),
        NO_TRUNC,
        QUIET_IDS,
    ),
    ("[REPOSITORY]",),
    "List the images: all, or those of a REPOSITORY[:TAG], in which * may stand for anything.",
)
REMOVE = Command(
    "minicontainer.cli.image_remove:remove",
    (Option("force", ("-f", "--force"), FLAG, "", "Also what a container uses, or has several names."),),
    ("IMAGE...",),
    "Remove images, by name or by id. One that has other names only loses this one.",
)
TAG = Command("minicontainer.cli.image_tag:tag", (), ("SOURCE", "TARGET"), "Give an image one more name.")
SAVE = Command(
    "minicontainer.cli.image_files:save",
    (
        Option("output", ("-o", "--output"), WORD, "FILE", "Where to (else standard output)."),
        Option(
            "format",
            ("--format",),
            WORD,
            "FORMAT",
            "docker-archive (the default; it is both) or oci-archive.",
        ),
    ),
    ("IMAGE...",),
    "Write images to one tar file, which docker, podman and skopeo read, too.",
)
LOAD = Command(
    "minicontainer.cli.image_files:load",
    (
        Option(
            "input",
            ("-i", "--input"),
            WORD,
            "FILE",
            "What to read: a file, or a directory (else standard input).",
        ),
        PLATFORM,
        QUIET,
    ),
    (),
    "Take images from a tar file of `save`, docker, podman or skopeo, or from an OCI image layout.",
)
HISTORY = Command(
    "minicontainer.cli.image_show:history",
    (
        FORMAT,
        Option("human", ("-H", "--human"), WORD, "true|false", "With false: exact sizes and times."),
        NO_TRUNC,
        QUIET_IDS,
    ),
    ("IMAGE",),
    "Show how an image was made, the last step first.",
)

COMMANDS = {
    "pull": PULL,
    "push": PUSH,
    "images": LIST_IMAGES,
    "rmi": REMOVE,
    "tag": TAG,
    "save": SAVE,
    "load": LOAD,
    "history": HISTORY,
    "login": Command(
        "minicontainer.cli.registry:login",
        (
            Option("username", ("-u", "--username"), WORD, "NAME", "Who (else it is asked for)."),
            Option(
                "password",
                ("-p", "--password"),
                WORD,
                "PASSWORD",
                "Seen by all who list processes: rather not.",
            ),
            Option(
                "password_stdin", ("--password-stdin",), FLAG, "", "Read the password from standard input."
            ),
            TLS_VERIFY,
        ),
        ("[SERVER]",),
        "Say who we are to a registry (else Docker Hub), and keep it for pulls and pushes.",
    ),
    "logout": Command(
        "minicontainer.cli.registry:logout",
        (),
        ("[SERVER]",),
        "Forget who we are to a registry (else Docker Hub).",
    ),
    "image pull": PULL,
    "image push": PUSH,
    "image ls": LIST_IMAGES,
    "image list": LIST_IMAGES,
    "image rm": REMOVE,
    "image remove": REMOVE,
    "image tag": TAG,
    "image save": SAVE,
    "image load": LOAD,
    "image history": HISTORY,
    "image inspect": Command(
        "minicontainer.cli.image_show:inspect",
        (Option("format", ("-f", "--format"), WORD, "FORMAT", "json, or a template as '{{.Config.Env}}'."),),
        ("IMAGE...",),
        "Show all that is known of images, as JSON or by a template.",
    ),
    "image prune": Command(
        "minicontainer.cli.image_remove:prune",
        (
            Option(
                "all", ("-a", "--all"), FLAG, "", "Also images that have a name, if no container uses them."
            ),
            Option("force", ("-f", "--force"), FLAG, "", "Do not ask."),
            Option("filter", ("--filter",), LIST, "KEY=VALUE", "Only those: until, label."),
        ),
        (),
        "Remove images that nobody needs.",
    ),
    "image gc": Command(
        "minicontainer.cli.image_remove:collect",
        (
            Option("dry_run", ("--dry-run",), FLAG, "", "Only say what would be removed."),
            Option(
                "check", ("--check",), FLAG, "", "Remove nothing; look whether all that is kept is whole."
            ),
        ),
        (),
        "Remove blobs, layers and partial downloads that no image and no container uses.",
    ),
    "image unpack": Command(
        "minicontainer.cli.image_unpack:unpack",
        (),
        ("IMAGE", "DIRECTORY"),
        "Unpack an image into a new directory, as the root file system of a bundle.",
    ),
    "image build-base": Command(
        "minicontainer.cli.image_build_base:build",
        (),
        ("[NAME]...",),
        "Build images of `images/` from packages of this distribution (without NAME: list them).",
    ),
    "image tags": Command(
        "minicontainer.cli.image_transfer:tags",
        (TLS_VERIFY,),
        ("REPOSITORY",),
        "List the tags that a registry has in a repository.",
    ),
    "image referrers": Command(
        "minicontainer.cli.image_transfer:referrers",
        (
            Option("artifact_type", ("--artifact-type",), WORD, "TYPE", "Only those of a type."),
            FORMAT,
            TLS_VERIFY,
        ),
        ("IMAGE",),
        "List what a registry has about an image: signatures, SBOMs, attestations.",
    ),
}

HIDDEN = {"image list", "image remove"}  # docker's other words for the same

GROUPS = {"image": "Images: fetched, built in, looked at, handed on and removed."}
