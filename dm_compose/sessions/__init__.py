"""A stack that is lent to a test run, put back between tests, and given back at the end."""
