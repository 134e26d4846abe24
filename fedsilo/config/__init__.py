"""The files and variables that describe a federation, a run and a process, and the checks of each.

Read ``federation.py`` first: the schema of federation.yaml.
It never calls AWS.
"""
