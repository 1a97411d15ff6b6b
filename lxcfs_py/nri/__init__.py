"""A plugin of the Node Resource Interface: containerd and CRI-O ask it what to add to each container they create."""
