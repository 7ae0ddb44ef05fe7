"""Rails: what texts are checked for. `plan` compiles a profile, `checking` runs it on texts, `window` on streams."""
