"""What a retired encoder leaves behind."""

from __future__ import annotations

import gc
import weakref

import pytest

from app.adapters import allocator
from app.adapters.encoders.engines import open_encoder
from app.core.bundle import load_bundle
from tests.bundles import write_tiny_bundle


def test_a_closed_encoder_holds_neither_tokenizer_nor_graph(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path / "bundle"))
    encoder = open_encoder(bundle, engine="auto", threads=1)
    session = weakref.ref(vars(encoder)["_session"])
    encoder.close()
    gc.collect()
    assert session() is None
    assert set(vars(encoder)) == {"_spec"}
    assert encoder.spec == bundle.spec


def test_freed_memory_is_given_back_where_the_c_library_can():
    allocator.give_back_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    allocator.give_back_memory()
