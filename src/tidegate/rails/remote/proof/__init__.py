"""How rails prove to services who asks: signatures and access tokens."""
