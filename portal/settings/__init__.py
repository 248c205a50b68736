"""`dev` needs no environment, `test` is for pytest, `prod` has no default secrets."""
