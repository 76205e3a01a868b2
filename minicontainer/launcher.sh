#!/bin/sh
# Start @COMMAND@: choose the interpreter and the program, then become them. No fork on the usual way.
# setup.py fills in the words between at signs when minicontainer is installed; launcher.c is the same without a shell.
# The names begin with mini_ because a variable that the caller has exported would keep its name and lose its value.

# Where this file lies, absolute: the program changes its directory and imports more later.
case $0 in
/*) mini_here=${0%/*} ;;
*/*) mini_here=$PWD/${0%/*} ;;
*) mini_here=$PWD ;;
esac
[ -L "$0" ] && mini_here=$(/bin/readlink -f "$0") && mini_here=${mini_here%/*}

mini_libraries=@LIBRARIES@
mini_package=@PACKAGE@

# The interpreter: our own, quicker one where it could be compiled (docs/decisions/0008), and as a container may see it,
# through a read-only overlay, once there is one (docs/decisions/0002).
mini_python=$mini_here/minicontainer-python
[ -x "$mini_python" ] || mini_python=@PYTHON@
if [ -x "/run/minicontainer-runtime/interpreter$mini_python" ]; then
    mini_python=/run/minicontainer-runtime/interpreter$mini_python
elif [ ! -x "$mini_python" ]; then
    echo @COMMAND@": the interpreter $mini_python is gone: install minicontainer again" >&2
    exit 1
fi

# One file with every module of the hot lane where it has been written, else the modules one by one.
mini_program=$mini_package/__pycache__/@HOT@
[ -r "$mini_program" ] || mini_program=$mini_package/launch.py

exec "$mini_python" -I -S -X utf8 -X no_debug_ranges "$mini_program" @PROGRAM@ "$mini_libraries" "$@"
