"""What the parties write of a run into the mail bucket, and how it is read back.

Read ``schema.py`` first: it names the fields of every file, for writers and readers.
Readers trust nothing that a party wrote: what can't be used counts as missing, and nothing raises.
"""
