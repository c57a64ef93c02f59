"""Builders, scenario expanders, packet walkers, fakes and golden files for tests."""
