"""The contract, over the fake and over each database."""

from tests.adapters.store.contract import StoreContract


class TestStores(StoreContract):
    """Runs the contract."""
