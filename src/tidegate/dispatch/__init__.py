"""Where a call can go and when: the seats of the engines, and who takes one next."""
