"""The tests of calls, REST and callbacks once more, unchanged: with the records in PostgreSQL.

`BOTHWAY_TEST_DB=postgres make test` does so with every test that has a carrier.
"""

from __future__ import annotations

import pytest
from tests.carrier import (
    test_call_books,
    test_call_control,
    test_call_streams,
    test_callback_sender,
    test_directory,
    test_exchange,
    test_switchboard,
)

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("records_in_postgres")]

_SKIPPED = {"test_an_account_that_was_made_over_rest_signs_too"}  # it reads the file of the other database

for _module in (
    test_call_books,
    test_call_control,
    test_call_streams,
    test_callback_sender,
    test_directory,
    test_exchange,
    test_switchboard,
):
    globals().update(
        {name: test for name, test in vars(_module).items() if name.startswith("test_") and callable(test)}
    )
for _name in _SKIPPED:
    del globals()[_name]
