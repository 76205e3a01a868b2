#!/bin/sh
# Process 1 of a guest without a service manager, which halves the time to the first command: mount what a Linux
# system has, unpack the toolkit, start the agent, power off when it ends.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
here=/usr/lib/minicontainer-guest

# busybox, because it is one static program: the others cost an emulated processor four times as much to start.
alias mount='busybox mount' mkdir='busybox mkdir' ln='busybox ln'

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /tmp
mkdir -p /dev/pts /dev/shm /dev/mqueue /dev/net /run/lock /run/sshd /run/user
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
# As in early-init.sh, because people and tests try overlays here, too.
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
read -r name </etc/hostname
echo "$name" >/proc/sys/kernel/hostname
busybox ip link set lo up
sh "$here/load-drivers.sh"
# Processes must not sit in the root cgroup, or controllers cannot be handed on below it.
mkdir /sys/fs/cgroup/init
echo $$ >/sys/fs/cgroup/init/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
read -r up _ </proc/uptime
echo "guest: up after $up s"
sh "$here/install-toolkit.sh"
read -r up _ </proc/uptime
echo "guest: ready after $up s"
python3 -I "$here/agent.py"
sync
exec busybox poweroff -f
