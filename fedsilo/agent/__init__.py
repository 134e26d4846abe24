"""A party's agent: it takes run requests, checks them against the owner's policy, and looks after trainers.

Read ``service.py`` first: its loop calls everything else.
The agent never imports FedML or torch, because it runs all the time and must stay small.
"""
