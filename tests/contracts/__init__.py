"""Contracts that several implementations keep."""
