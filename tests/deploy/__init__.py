"""Checks of what the service is deployed with; none of them needs Docker or a cluster."""
