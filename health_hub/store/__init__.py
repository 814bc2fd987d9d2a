"""The only code that talks to the database: `commit` for every write, `View` for every read."""
