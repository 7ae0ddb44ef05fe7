"""What happened, told: metrics and logs."""
