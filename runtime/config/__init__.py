"""Options or a bundle to an OCI configuration, and what is refused: all decided, nothing touched."""
