"""What describes a federation, a run and a process: federation.yaml, run.json and the environment, with their checks.

Read ``federation.py`` first: the schema of federation.yaml.
Nothing here calls AWS.
"""
