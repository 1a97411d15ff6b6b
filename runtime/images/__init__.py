"""Images: a store of OCI images, what fills it and what is read from it.

``STORAGE/images`` is an OCI image layout (image-layout.md of the image specification) that skopeo and others read as
it is; ``STORAGE/layers/CHAIN/tree`` holds each layer unpacked as overlayfs wants it, shared by all images and
containers above it. What decides is pure (``reference``, ``manifest``, ``entry``, ``merge``), what performs is at the
edges (``store``, ``unpack``, ``layers``, ``pull``). A start by ``--image`` imports ``resolve`` alone.
"""
