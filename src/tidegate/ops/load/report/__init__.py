"""How a result is shown: `page` makes the report, `compare` sets two results side by side; the rest serves those two."""
