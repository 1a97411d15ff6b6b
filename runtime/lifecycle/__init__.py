"""A container from create to delete, on the host's side; and the child that becomes its first process."""
