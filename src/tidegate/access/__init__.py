"""Who calls: the keys, and how a request shows one."""
