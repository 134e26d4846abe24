"""A party's agent: it takes run requests, holds them against the owner's policy, and looks after trainers.

Read ``service.py`` first: its loop calls everything else.
It never imports what learns (torch, FedML), because it runs all the time.
"""
