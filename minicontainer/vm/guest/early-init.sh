#!/bin/busybox sh
# The guest's first program, in the initramfs: load the disks' drivers, lay a writable overlay on the read-only root,
# copy our own files into it, and become its init: guest-init.sh, or systemd where the kernel's command line has
# minicontainer.init=systemd. Disks are found by their serial: root, scratch (changes outlive the guest), toolkit.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev

die() {
    echo "guest: FATAL: $*"
    $b poweroff -f
}

disk() { # $1: the serial; prints the device, or nothing
    for entry in /sys/block/vd*; do
        serial=
        read -r serial 2>/dev/null <"$entry/serial"
        [ "$serial" = "$1" ] && echo "/dev/${entry##*/}" && return
    done
}

init=plain
read -r words </proc/cmdline
for word in $words; do
    case $word in
    minicontainer.init=*) init=${word#*=} ;;
    esac
done
while read -r module; do
    $b insmod "/modules/$module" || echo "early-init: insmod $module failed"
done </modules/order

# Drivers look for their devices beside us: wait for the one that must come, then take what is there.
tries=0
until root=$(disk root) && [ "$root" ]; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || die "there is no disk with the serial root"
    $b usleep 50000
done
$b mount -t squashfs -o ro "$root" /lower || die "no root file system on $root"
scratch=$(disk scratch)
if [ "$scratch" ]; then
    $b mount -t ext4 "$scratch" /upper || die "the scratch disk cannot be mounted"
else
    $b mount -t tmpfs -o size=75%,mode=755 tmpfs /upper || die "no memory for changes"
fi
$b mkdir -p /upper/changes /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/changes,workdir=/upper/work root /root || die "no overlay"
# What containers are kept in must not be the overlay: an overlay cannot be the upper layer of another one.
for name in containers minicontainer; do
    $b mkdir -p "/upper/lib/$name" "/root/var/lib/$name"
    $b mount --bind "/upper/lib/$name" "/root/var/lib/$name"
done
$b mkdir -p /root/usr/lib/minicontainer-guest
$b cp /guest/* /root/usr/lib/minicontainer-guest/

case $init in
systemd)
    next=/usr/lib/systemd/systemd
    $b cp -af /systemd/. /root/etc/systemd/
    ;;
*) next=/usr/lib/minicontainer-guest/guest-init.sh ;;
esac
$b umount /sys /proc
$b mount --move /dev /root/dev
exec $b switch_root /root "$next"
