"""What goes before the stub's instructions for ``--init``: a PID 1 of two hundred bytes, as Docker has tini.

It forks; the child goes on, and becomes the command. PID 1 has the command's user, rights and filter, but none of
its descriptors. It passes on what it is sent, but for what the kernel sends (Ctrl-C at a terminal): the command,
which is of the same process group, has got that itself. It reaps whatever ends, and when the command does it exits
with its code, or 128 and the signal that ended it. If no process can be made the command runs without it.

All signals are blocked, which queues those that PID 1 would not get otherwise (pid_namespaces(7)), and are taken one
by one.
"""

from __future__ import annotations

CODE = {
    "x86_64": (
        "4881ec90000000"  # on the stack: a set of signals, the one before or a status, and what is known of a signal
        "48b8707970726f632d69 48890424 c74424086e697400 6a0f5f 4889e6 b89d000000 0f05"  # prctl: its name
        "48830c24ff 31ff 4889e6 488d542408 6a08415a 6a0e58 0f05"  # rt_sigprocmask: block all
        "6a3958 0f05 85c0 7e76 89c3"  # fork; the child, or who has none, to the end
        "31ff 83ceff 31d2 b8b4010000 0f05"  # close_range: all
        "4889e7 488d742410 31d2 6a08415a b880000000 0f05"  # next: rt_sigtimedwait
        "83f811 7416 85c0 7ee2 837c241800 7fdb"  # SIGCHLD: reap; the kernel's: next
        "89df 89c6 6a3e58 0f05 ebd0"  # kill the child with it; next
        "83cfff 488d742408 6a015a 4531d2 6a3d58 0f05"  # reap: wait4, without waiting
        "85c0 7eb9 39d8 75e5"  # none: next; another: reap
        "0fb67c2409 8b442408 83e07f 7406 8db880000000 b8e7000000 0f05"  # exit_group: its code, or 128 + the signal
        "6a025f 488d742408 31d2 6a08415a 6a0e58 0f05 4881c490000000"  # the child: rt_sigprocmask, as it was
    ),
    "aarch64": (
        "ff4302d1"  # on the stack: a set of signals, the one before or a status, and what is known of a signal
        "e00180d2 a1070010 e81480d2 010000d4"  # prctl: its name
        "09008092 e90300f9 000080d2 e1030091 e2230091 030180d2 e81080d2 010000d4"  # rt_sigprocmask: block all
        "200280d2 010080d2 020080d2 030080d2 040080d2 881b80d2 010000d4"  # clone
        "1f000071 ad050054 f303002a"  # the child, or who has none, to the end
        "000080d2 01008012 020080d2 883680d2 010000d4"  # close_range: all
        "e0030091 e1430091 020080d2 030180d2 281180d2 010000d4"  # next: rt_sigtimedwait
        "1f440071 60010054 1f000071 edfeff54 e91b40b9 3f010071 8cfeff54"  # SIGCHLD: reap; the kernel's: next
        "e103002a e003132a 281080d2 010000d4 efffff17"  # kill the child with it; next
        "00008092 e1230091 220080d2 030080d2 882080d2 010000d4"  # reap: wait4, without waiting
        "1f000071 edfcff54 1f00136b e1feff54"  # none: next; another: reap
        "e0274039 e10b40b9 21180072 40000054 20000211 c80b80d2 010000d4"  # exit_group: its code, or 128 + the signal
        "70797072 6f632d69 6e697400"  # the name
        "400080d2 e1230091 020080d2 030180d2 e81080d2 010000d4 ff430291"  # the child: rt_sigprocmask, as it was
    ),
}
"""By machine."""
