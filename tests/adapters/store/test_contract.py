"""The contracts, over the fake and over each database."""

from tests.adapters.store.contract import StoreContract
from tests.adapters.store.contract_usage import UsageContract


class TestStores(StoreContract, UsageContract):
    """Runs them."""
