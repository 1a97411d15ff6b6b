"""A /proc that tells the truth inside a container."""

__version__ = "0.1.0"
