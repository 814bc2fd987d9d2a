"""Bad input against a real server process: every case gets its answer in time, and the server goes on."""
