"""The loop around the gateway: load tests today; prompts, experiments, evals and planning later."""
