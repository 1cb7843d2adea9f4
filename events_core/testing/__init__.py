"""For the tests of applications, and of adapters that others write."""
