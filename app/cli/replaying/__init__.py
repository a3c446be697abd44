"""Streaming recorded or simulated traffic through a running service."""
