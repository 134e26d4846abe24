"""What the parties write of a run into the mail bucket, and how it is read back.

Read ``schema.py`` first: it holds the fields of every file.
Writers use the schemas as they are; readers trust nothing that another party wrote.
"""
