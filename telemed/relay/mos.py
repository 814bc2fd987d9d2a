"""How good sound is for a listener: ITU-T G.107 (E-model), simplified, with values for Opus; mean opinion score 1 to 4.5."""

CODEC_DELAY = 0.0265  # s; a 20 ms frame and the encoder's look-ahead
BASE = 93.2  # R without delay and loss
KNEE = 177.3  # ms from which delay disturbs a conversation
ROBUST, ROBUST_FEC = (
    17.0,
    28.0,
)  # Bpl: how well Opus hides losses without and with in-band FEC (chosen to be between G.729 and G.711 with PLC, and above)


def rating(loss: float, jitter: float, round_trip: float, fec: bool = True) -> float:
    """R, 0 to 93.2. Loss as a share (0 to 1) after recovery, jitter and round trip in seconds."""
    share = min(max(loss, 0.0), 1.0) * 100.0
    delay = (max(round_trip, 0.0) / 2.0 + 2.0 * max(jitter, 0.0) + CODEC_DELAY) * 1e3  # the listener's buffer holds about twice the jitter
    disturbed = 0.024 * delay + (0.11 * (delay - KNEE) if delay > KNEE else 0.0)
    impaired = 95.0 * share / (share + (ROBUST_FEC if fec else ROBUST))
    return min(max(BASE - disturbed - impaired, 0.0), BASE)


def mos(loss: float, jitter: float, round_trip: float, fec: bool = True) -> float:
    """Mean opinion score (G.107, annex B): 1 bad, 2 poor, 3 fair, 4 good, about 4.4 at best."""
    r = rating(loss, jitter, round_trip, fec)
    return min(max(1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6, 1.0), 4.5)
