# Run in a new system at the end of its making: what is accidental goes, so that the same packages give the same bytes.
# No command here fails where there is nothing to do.

# How mmdebstrap was told to install: not how the image's users want it.
rm -f /etc/apt/apt.conf.d/99mmdebstrap

rm -f /etc/hostname /etc/resolv.conf /etc/*- /var/lib/dpkg/*-old /var/cache/debconf/*-old /var/cache/ldconfig/*
find /var/log -type f -exec truncate --size=0 {} +
rm -rf /var/log/apt /var/log/*.log /root/.cache

# Compiled modules carry the hash of their source, because SOURCE_DATE_EPOCH is set. It need not be compared at
# each import: bit 1 of the flags, the second word of a .pyc, asks for that (PEP 552).
if command -v python3 >/dev/null; then
    find /usr -name '*.pyc' -exec python3 -I -c '
import sys
for name in sys.argv[1:]:
    with open(name, "r+b") as file:
        head = file.read(8)
        if head[4] == 3:
            file.seek(4)
            file.write(b"\1")
' {} +
fi
