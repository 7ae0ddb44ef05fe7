"""`tidegate drill`: engines fail under load, and a person can watch what the gateway makes of it."""
