"""Commands that ask the admin API of a running gateway, and show what it knows once or again and again."""
