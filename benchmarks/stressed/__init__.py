"""Tests that benchmarks.stress runs, copied beside a pytest.ini of their own; pytest does not collect them here."""
