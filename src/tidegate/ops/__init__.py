"""Tools for operating the gateway: load tests today; prompts, experiments, evals and planning later."""
