"""Metrics: pure functions of numbers, no benchmark or model knowledge."""
