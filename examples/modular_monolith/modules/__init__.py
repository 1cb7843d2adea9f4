"""The modules. None of them imports another one's services: its events, and no more."""
