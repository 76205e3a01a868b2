"""`minicontainer login` and `logout`: who we are for a registry.

See man pages docker-login(1), docker-logout(1); for where it is kept, image/registry/credentials.py.
"""

from __future__ import annotations

import getpass
import sys

from minicontainer.cli.image_transfer import settings
from minicontainer.cli.image_words import word
from minicontainer.errors import Error
from minicontainer.image.registry.client import RegistryClient
from minicontainer.image.registry.credentials import Credentials
from minicontainer.image.registry.errors import Unauthorized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minicontainer.cli.image_words import Values

HUB = "docker.io"
OLD_HUB = "https://index.docker.io/v1/"
LONGEST_PASSWORD = 1 << 16


def login(values: Values) -> int:
    """Ask a registry whether it takes a name and a password, and keep them if it does."""
    host = read_host(word(values, "server"))
    credentials = Credentials()
    user, password = ask(values, credentials, host)
    try:
        place = RegistryClient(settings(values, host), credentials).login(host, user, password)
    except Unauthorized as problem:
        problem.hint = ""  # which would be to log in
        raise
    if place == str(credentials.path):
        sys.stderr.write(
            f"\nWARNING! Your credentials are stored unencrypted in '{place}'.\n"
            'Configure a credential helper to remove this warning: see docs/images.md, "Credentials".\n\n'
        )
    sys.stdout.write("Login Succeeded\n")
    return 0


def logout(values: Values) -> int:
    """Forget what was kept."""
    host = read_host(word(values, "server"))
    sys.stdout.write(f"Removing login credentials for {host}\n")
    if not Credentials().erase(host):
        sys.stderr.write(f"Not logged in to {host}\n")
    return 0


def read_host(server: str) -> str:
    """Read the name of a registry: people also give its URL. Raises Error."""
    if server in ("", OLD_HUB):
        return HUB
    host = server.removeprefix("https://").removeprefix("http://").rstrip("/")
    if "/" in host or "@" in host or not host:
        raise Error(f"{server} is not a registry", "give its host and port, as localhost:5000")
    return host


def ask(values: Values, credentials: Credentials, host: str) -> tuple[str, str]:
    """Get name and password from options, standard input, or who sits at the terminal. Raises Error."""
    user, password = word(values, "username"), word(values, "password")
    if values["password_stdin"]:
        return user, read_password(user, password)
    if password:
        sys.stderr.write("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    if (not user or not password) and not sys.stdin.isatty():
        raise Error("Cannot perform an interactive login from a non TTY device", "-u NAME --password-stdin")
    if not user:
        known = credentials.find(host)
        user = ask_for_name(known.user if known else "")
    return user, password or getpass.getpass("Password: ")


def read_password(user: str, password: str) -> str:
    """Read a password from standard input, for who has named the user and given no other. Raises Error."""
    if password:
        raise Error("--password and --password-stdin are mutually exclusive")
    if not user:
        raise Error("Must provide --username with --password-stdin")
    read = sys.stdin.read(LONGEST_PASSWORD).removesuffix("\n").removesuffix("\r")
    if not read:
        raise Error("password is required")
    return read


def ask_for_name(usual: str) -> str:
    """Ask who it is; whoever only presses Enter is who it was before. Raises Error."""
    sys.stdout.write(f"Username ({usual}): " if usual else "Username: ")
    sys.stdout.flush()
    user = sys.stdin.readline().strip() or usual
    if not user:
        raise Error("username is required")
    return user
