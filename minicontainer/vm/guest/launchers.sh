#!/bin/sh
# Write the three commands to /usr/local/bin, for a checkout whose libraries are Debian's packages: launchers.sh CHECKOUT
# Elsewhere setup.py does this. Both fill in the words between at signs of minicontainer/launcher.sh.
set -eu

package=$1/minicontainer
python=$(readlink -f /usr/bin/python3)
cache_tag=$("$python" -I -S -c 'import sys; print(sys.implementation.cache_tag)')
for command in minicontainer mini minicontainer-runtime; do
    program=minicontainer
    [ $command != minicontainer-runtime ] || program=$command
    rm -f /usr/local/bin/$command # it may be a link into a .venv
    sed -e "s|@COMMAND@|$command|g; s|@PROGRAM@|$program|g; s|@PYTHON@|$python|g; s|@HOT@|hot-lane.$cache_tag.pyc|g" \
        -e "s|@LIBRARIES@|/usr/lib/python3/dist-packages|g; s|@PACKAGE@|$package|g" \
        "$package/launcher.sh" >/usr/local/bin/$command
    chmod 755 /usr/local/bin/$command
done
# Compiled now, before anybody waits for it: a command that finds nothing compiled does it itself.
/usr/local/bin/minicontainer-runtime --version >/dev/null
