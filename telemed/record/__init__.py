"""Recording: the packets of a consultation written as they are, one encrypted WebM or MP4 file a track, with an index."""
