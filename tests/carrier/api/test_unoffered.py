from __future__ import annotations

import pytest
from tests.carrier.api.desk import Desk

from bothway.carrier.api.parameters import ApiError
from bothway.carrier.api.table import OPERATIONS
from bothway.carrier.api.unoffered import UNOFFERED, refuse_unoffered


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_known_resources_are_said_not_to_be_offered(api: Desk, method: str) -> None:
    for name in ("Message", "MultiPartyCall"):
        for path in (f"{name}/", f"{name}/x/Participant/"):
            reply = await api.ask(method, path)
            assert reply.status == 400
            assert reply.error.startswith(f"{name} is not offered here: this carrier has no m")


def test_other_paths_pass() -> None:
    for path in ("/v1/Account/MA/", "/v1/Account/MA/Nothing/", "/", ""):
        refuse_unoffered(path)
    with pytest.raises(ApiError):
        refuse_unoffered("/v1/Account/MA/Message")


def test_what_is_offered_is_not_in_the_list() -> None:
    assert not {operation.tag for operation in OPERATIONS} & UNOFFERED.keys()
