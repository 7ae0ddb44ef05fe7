"""`tidegate rails`: the rails that there are, and what they would do, before a gateway runs them and after."""
