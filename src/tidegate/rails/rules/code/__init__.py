"""Parts of the rail `code_injection`: what injections look like, and where Markdown has code that is only shown."""
