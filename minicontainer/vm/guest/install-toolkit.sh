#!/bin/sh
# Unpack the disk with the serial `toolkit`, a tar that minicontainer/vm/toolkit.py wrote, to /opt/minicontainer, and
# write the commands' launchers. The tar begins with a file that names it, so what is there already is not unpacked
# again: a guest may start with its old disk.
target=/opt/minicontainer

disk=
for entry in /sys/block/vd*; do
    serial=
    read -r serial 2>/dev/null <"$entry/serial"
    [ "$serial" = toolkit ] && disk=/dev/${entry##*/}
done
[ "$disk" ] || exit 0
name=$(dd if="$disk" bs=512 skip=1 count=1 status=none | tr -d '\0')
[ "$name" != "$(cat $target/.toolkit 2>/dev/null)" ] || exit 0

rm -rf $target
mkdir -p $target
tar -C $target -xf "$disk" || { echo "guest: FATAL: the toolkit cannot be unpacked"; exit 1; }
exec sh "${0%/*}/launchers.sh" $target
