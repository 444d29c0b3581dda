"""The sandbox's parts that need no cluster."""
