"""Tests with real brokers and servers."""
