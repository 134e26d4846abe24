"""The operator's commands, a module per noun. They import what they need when they run, so that help is instant."""
