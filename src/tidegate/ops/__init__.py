"""Tools for operating the gateway: load tests, a drill and evaluations today; prompts, experiments and planning later."""
