"""The one place where settings become adapters, and adapters meet the core.

Knows no web framework: the service and the command line both start here.
"""

from app.bootstrap.opening import (
    assemble,
    observed,
    open_as_served,
    open_ingest,
    open_replacement,
    open_runtime,
)
from app.bootstrap.reindexing import open_reindexing
from app.bootstrap.runtime import Collection, Runtime, Tools
from app.bootstrap.shelves import bundle_for, open_shelf, served_bundle, spec_of

__all__ = [
    "Collection",
    "Runtime",
    "Tools",
    "assemble",
    "bundle_for",
    "observed",
    "open_as_served",
    "open_ingest",
    "open_reindexing",
    "open_replacement",
    "open_runtime",
    "open_shelf",
    "served_bundle",
    "spec_of",
]
