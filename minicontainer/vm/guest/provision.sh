#!/bin/sh
# Make a node of minicontainer of this machine: Debian 12 or 13, or Ubuntu 24.04, as root.
#
#   provision.sh [ADDRESS=NAME ...]     the nodes of the network, this one among them
#
# Vagrant and Lima run it, and so can anybody, at any time again. A node has what the image of `minicontainer vm` has:
# the lists of packages in minicontainer/vm/recipe.py. In a guest of that image they are in place, and no network is
# needed. Where Debian or Ubuntu lacks a library, ./bootstrap puts the Python packages into .venv.
# shellcheck disable=SC2046,SC2086  # lists of packages are meant to become words
set -eu

checkout=$(cd "$(dirname "$0")/../../.." && pwd)
target=/opt/minicontainer # where a checkout that must not be written to is copied
export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

say() {
    echo "provision: $*"
}

copy_checkout() { # as on the read-only mount of Lima; what ./bootstrap has made in an earlier copy stays
    say "copying $checkout to $target"
    mkdir -p $target
    find $target -mindepth 1 -maxdepth 1 ! -name .venv ! -name .peers -exec rm -rf {} +
    tar -C "$checkout" -cf - --exclude=./.git --exclude=./.venv --exclude=./.peers --exclude=./.vagrant \
        --exclude=./.hypothesis --exclude='./.*_cache' --exclude='*.egg-info' --exclude=__pycache__ . |
        tar -C $target -xf - --no-same-owner
    checkout=$target
}

listed() { # $@: lists of minicontainer/vm/recipe.py
    PYTHONPATH=$checkout PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c \
        "from minicontainer.vm import recipe; print(*(name for each in '$*'.split() for name in getattr(recipe, each)))"
}

missing() { # $@: packages
    states=$(dpkg-query -W -f '${Package}=${db:Status-Status} ' "$@" 2>/dev/null) || true # it does not know some
    for package in "$@"; do
        case " $states" in *" $package=installed "*) ;; *) echo "$package" ;; esac
    done
}

install_packages() { # $@: packages; libraries that this release does not have are left to ./bootstrap
    set -- $(missing "$@")
    [ $# -gt 0 ] || return 0
    apt-get -qq update || say "going on with the package lists that are there"
    if ! apt-get -qq --simulate --no-install-recommends install "$@" >/dev/null 2>&1; then
        set -- $(printf '%s\n' "$@" | grep -v '^python3-')
        [ $# -gt 0 ] || return 0
    fi
    say "installing $*"
    apt-get -qq install --yes --no-install-recommends "$@"
}

install_commands() {
    owner=$(stat -c %U "$checkout") # as whom compiled modules and a .venv are made
    libraries=$(listed TOOLKIT)
    if [ -z "$(missing $libraries)" ]; then
        [ "$owner" = root ] || runuser -u "$owner" -- /usr/bin/python3 -m compileall -q "$checkout/minicontainer"
        sh "$checkout/minicontainer/vm/guest/launchers.sh" "$checkout"
        return
    fi
    home=$(getent passwd "$owner" | cut -d: -f6)
    runuser -u "$owner" -- env HOME="$home" sh "$checkout/bootstrap"
    ln -sf "$checkout/.venv/bin/minicontainer" "$checkout/.venv/bin/mini" \
        "$checkout/.venv/bin/minicontainer-runtime" /usr/local/bin/
}

name_nodes() { # $@: ADDRESS=NAME; not where the hypervisor has no such network, as Hyper-V
    own=" $(ip -4 -o address show | sed 's|.* inet \([0-9.]*\)/.*|\1|' | tr '\n' ' ')"
    for node in "$@"; do
        case $own in *" ${node%%=*} "*) here=${node#*=} ;; esac
    done
    if [ -z "${here-}" ]; then
        say "this machine has none of the addresses of $*: the nodes get no names" >&2
        return
    fi
    hosts=$(sed -e '/# a node of minicontainer$/d' -e "/^127\..*[[:space:]]$here\([[:space:]]\|\$\)/d" /etc/hosts)
    {
        printf '%s\n' "$hosts" # without the loopback address, which others could not use
        printf '%s  # a node of minicontainer\n' "$@" | tr '=' ' '
    } >/etc/hosts
}

turn_on_pressure() { # Debian's kernel counts pressure stall information only when asked to
    [ ! -d /proc/pressure ] && [ -d /etc/default/grub.d ] && command -v update-grub >/dev/null || return 0
    grep -qs psi=1 /etc/default/grub.d/minicontainer.cfg && return
    # shellcheck disable=SC2016  # update-grub is to see the variable
    echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX psi=1"' >/etc/default/grub.d/minicontainer.cfg
    update-grub
    say "pressure stall information (memory.pressure and others) is there after the next start of this machine"
}

[ "$(id -u)" = 0 ] || { say "this needs root: sudo sh $0 $*" >&2 && exit 1; }
[ -x /usr/bin/python3 ] || install_packages python3
[ -w "$checkout" ] || copy_checkout
packages=$(listed SYSTEM TOOLKIT TESTS)
install_packages $packages
install_commands
[ $# = 0 ] || name_nodes "$@"
turn_on_pressure
say "ready; what this machine can do:"
exec minicontainer doctor
