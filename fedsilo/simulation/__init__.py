"""The simulator: a whole federation in one process, on a virtual clock. Read ``world.py`` first."""
