"""The command line: one file a verb; it composes a configuration, calls the other rooms and keeps the run's record."""
