"""Quotas: how much of what each tenant may use, and what it has used. Which limits a call meets is decided elsewhere."""
