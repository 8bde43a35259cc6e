"""One file per channel technology. Which there are stands in `connectors/registry.py`."""
