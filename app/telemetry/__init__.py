"""Logs, metrics, traces. Knows names, labels and buckets; callers decide what they mean."""
