#!/bin/sh
# Make a guest the node that it is to be: its name, addresses, the other nodes' names, keys, the shared directory.
# The keeper runs it through the agent after each start. All that it writes lies where `changed.sh` does not look.
# From the environment: NAME NUMBER MAC HOSTS ONLINE AUTHORIZED_KEY HOST_KEY HOST_KEY_PUBLIC SHARE (virtiofs options).
set -eu
state=/var/lib/minicontainer-guest
mkdir -p "$state"

hostname "$NAME"
echo "$NAME" >/etc/hostname
printf '%s\n' "$HOSTS" >/etc/hosts
if [ "$(cat "$state/name" 2>/dev/null)" != "$NAME" ]; then # the disk is new, or a copy of a frozen guest's
    tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
    echo "$NAME" >"$state/name"
fi

ip link set lo up
ip address replace 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route replace default via 10.0.2.2
if [ "$ONLINE" ]; then echo 'nameserver 10.0.2.3' >/etc/resolv.conf; fi
ip link set eth1 down
ip link set eth1 address "$MAC"
ip address flush dev eth1
ip address add "10.77.0.$NUMBER/24" dev eth1
ip link set eth1 up

if [ "$SHARE" ]; then
    mkdir -p /share
    mountpoint -q /share || mount -t virtiofs -o "$SHARE" share /share
fi

if [ "$HOST_KEY" ]; then
    umask 077
    mkdir -p /root/.ssh /run/sshd
    printf '%s\n' "$AUTHORIZED_KEY" >/root/.ssh/authorized_keys
    printf '%s\n' "$HOST_KEY" >/etc/ssh/ssh_host_ed25519_key
    printf '%s\n' "$HOST_KEY_PUBLIC" >/etc/ssh/ssh_host_ed25519_key.pub
    if [ -d /run/systemd/system ]; then
        systemctl reset-failed ssh.service 2>/dev/null || true # it has not been tried yet
        systemctl restart ssh.service
    else
        /usr/sbin/sshd
    fi
fi
touch "$state/settled"
