"""Evasion as it is shown: its section of the page, its charts, its table in a terminal."""
