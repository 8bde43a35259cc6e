"""Tests of the journey language: reading, checking, stories."""
