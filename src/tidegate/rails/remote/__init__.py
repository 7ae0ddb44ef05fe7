"""Remote guards: services of others that check texts, one file each, over HTTP."""
