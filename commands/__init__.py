"""The command line: one small file a command, no logic. Nothing imports this room."""
