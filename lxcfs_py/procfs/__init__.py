"""Parsers of the files of procfs, one module a file: bytes in, records out; odd text never raises."""
