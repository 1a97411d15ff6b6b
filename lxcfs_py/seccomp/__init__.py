"""System calls that ask the kernel where no file is read: answered for containers by a seccomp agent.

A container's filter hands sysinfo(2) and sched_getaffinity(2) to whoever holds its listener (seccomp_unotify(2)).

    runtime ── state and listener, OCI's way ──► keeper (in the supervisor) ── a copy of each ──► agent
                                                    holds them; an agent            answers the calls;
                                                    that died is replaced           its place is in shared memory

When nobody holds a listener any more its calls fail with ENOSYS for ever; a call that was received and never
answered hangs. So the keeper holds all listeners, and the kernel itself writes a received call into memory that the
next agent finds. An agent whose keeper has gone serves on until its last container has ended.

There is one agent for root's containers, and one for each ordinary user's, which is that user (``desk``, ``users``,
``arrivals``).
"""
