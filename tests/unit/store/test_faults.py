"""What happens when the store errs: answers lost after the work was done, refusals, silence."""

from __future__ import annotations

import pytest

from shared.composition import Services
from shared.platform.ids import OrgId
from shared.platform.settings import load_settings
from shared.store.errors import StoreUnavailable
from tests.unit.store.models import Note

ORG = OrgId("org_faults")


async def test_a_store_that_is_away_is_a_clear_refusal() -> None:
    services = Services(load_settings({"cosmos_endpoint": "http://127.0.0.1:1", "cosmos_key": "a2V5"}))
    with pytest.raises(StoreUnavailable) as caught:
        await services.store.get(ORG, Note, "n1")
    assert caught.value.retry_after
    with pytest.raises(StoreUnavailable):
        await services.database.ping()
    await services.close()
