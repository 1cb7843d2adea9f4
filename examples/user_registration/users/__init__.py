"""The user service: who has an account, and whose address is verified."""
