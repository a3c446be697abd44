"""The examples that the OpenAPI document shows."""
