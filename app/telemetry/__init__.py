"""Logs and metrics. Knows names, labels and buckets; what they mean is decided by the callers."""
