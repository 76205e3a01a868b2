"""The numbers of the system calls that libc has no Python name for.

Calls added since Linux 5.1 have one number on every architecture; the older ones differ. Two families are
enough here: x86-64, and the generic table that arm64, riscv64 and loong64 share.

See syscall(2); <asm/unistd_64.h>, <asm-generic/unistd.h>.
"""

from __future__ import annotations

import posix

from minicontainer.errors import Unsupported

machine = posix.uname().machine
if machine == "x86_64":
    SYS_mount, SYS_umount2, SYS_pivot_root = 165, 166, 155
    SYS_unshare, SYS_setns = 272, 308
    SYS_sethostname, SYS_setdomainname = 170, 171
    SYS_capget, SYS_capset, SYS_prctl, SYS_seccomp = 125, 126, 157, 317
    SYS_keyctl, SYS_bpf, SYS_personality = 250, 321, 135
    SYS_ioprio_set, SYS_sched_setattr, SYS_set_mempolicy = 251, 314, 238
    SYS_prlimit64, SYS_socket, SYS_execveat, SYS_fstatfs = 302, 41, 322, 138
    SYS_sendto, SYS_sendmsg = 44, 46
elif machine in ("aarch64", "riscv64", "loongarch64"):
    SYS_mount, SYS_umount2, SYS_pivot_root = 40, 39, 41
    SYS_unshare, SYS_setns = 97, 268
    SYS_sethostname, SYS_setdomainname = 161, 162
    SYS_capget, SYS_capset, SYS_prctl, SYS_seccomp = 90, 91, 167, 277
    SYS_keyctl, SYS_bpf, SYS_personality = 219, 280, 92
    SYS_ioprio_set, SYS_sched_setattr, SYS_set_mempolicy = 30, 274, 237
    SYS_prlimit64, SYS_socket, SYS_execveat, SYS_fstatfs = 261, 198, 281, 44
    SYS_sendto, SYS_sendmsg = 206, 211
else:
    raise Unsupported(f"{machine}: only 64-bit x86, ARM, RISC-V and LoongArch are known")

SYS_pidfd_send_signal, SYS_open_tree, SYS_move_mount = 424, 428, 429
SYS_fsopen, SYS_fsconfig, SYS_fsmount = 430, 431, 432
SYS_pidfd_open, SYS_clone3, SYS_close_range, SYS_openat2 = 434, 435, 436, 437
SYS_pidfd_getfd, SYS_mount_setattr = 438, 442
