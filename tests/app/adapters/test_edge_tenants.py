from __future__ import annotations

import random
from dataclasses import replace

import pytest

from app.adapters.edge.store import EdgePassageStore
from app.core.access.tenancy import with_tenant_field
from tests.app.core.access.test_tenancy import FIELDS, TENANTS, VERBS, Model
from tests.fakes import FAKE_COLLECTION


@pytest.fixture
async def store(tmp_path):
    opened = EdgePassageStore(tmp_path / "collection")
    await opened.open(replace(FAKE_COLLECTION, fields=with_tenant_field(FIELDS)))
    yield opened
    await opened.close()


async def test_tenants_of_one_collection_on_disk_never_see_each_other(store):
    dice = random.Random(5)
    tenants = [Model(name, store, dice) for name in TENANTS]

    for _ in range(100):
        await getattr(dice.choice(tenants), dice.choice(VERBS))()

    for tenant in tenants:
        await tenant.get()
        await tenant.search()
    assert await store.count() == sum(len(tenant.mine) for tenant in tenants) > 0
