"""systemd's half of a container's cgroup: a transient scope, asked for over the manager's own socket."""
