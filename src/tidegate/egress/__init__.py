"""The only way out over HTTP: to engines, later to remote guards."""
