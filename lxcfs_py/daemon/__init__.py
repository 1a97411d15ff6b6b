"""The daemon: a supervisor that owns the mount, and the workers that answer its requests."""
