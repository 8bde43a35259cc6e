"""Tests of the engine: tables and stories per module, random schedules of the identity protocol."""
