"""What every build from Debian's packages has in common, so that the same packages make the same bytes.

Nothing is imported here: provision.sh asks for it on machines that have no more than Python yet.

See https://reproducible-builds.org/docs/source-date-epoch/; dpkg(1) "path-exclude".
"""

from __future__ import annotations

EPOCH = 1_735_689_600  # 2025-01-01: what every file says of its age that is younger
# For mmdebstrap and the packages' own scripts. A kernel needs no initramfs of theirs: guests have ours.
ENVIRONMENT = {"SOURCE_DATE_EPOCH": str(EPOCH), "INITRD": "No"}
LEFT_OUT = ("man", "doc", "doc-base", "locale", "info", "lintian")  # below /usr/share
