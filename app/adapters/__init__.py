"""Adapters: the only modules that know an engine or a runtime."""
