"""Tests of pictures of journeys."""
