"""Rails: what texts are checked for. `plan` compiles a profile, `review` runs it on texts, and `window` on streams."""
