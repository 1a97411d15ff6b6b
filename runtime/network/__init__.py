"""Networks: bridges of ours with addresses, names and published ports, and others' by CNI plugins.

wish (options) -> networks (what there is) -> leases (who has which address and ports) -> links, rules, names (text)
-> programs (ip, nft) by ``bridge``. What is text or a record is decided without touching anything.
"""
