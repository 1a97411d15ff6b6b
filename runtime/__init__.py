"""pyproc-run and pyproc: the container runtime that brings a true /proc."""
