"""Store and forward: a message recorded where no call could be held comes in pieces, however often the link breaks."""
