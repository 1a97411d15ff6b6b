"""What a process of the container is and has: namespaces, cgroups, user, limits, filter, terminal."""
