"""Tokens: signed JSON Web Tokens of one issuer, the issuer's keys, and what the claims of a token say about a caller."""
