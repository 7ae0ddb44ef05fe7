"""The gateway under overload: crowds of clients, their figures, and what the gateway promises of them.

The same crowds meet a gateway on the clock of `virtual` (in `make test`) and real processes (`make chaos`).
"""
