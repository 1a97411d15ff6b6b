"""FUSE: the driver that takes a session over, and what is answered."""
