"""Whether a subscriber understands what a publisher sends."""

import pytest

from telemed.relay.track import Format


def h264(profile: str | None = None, mode: str | None = None) -> Format:
    given = {"profile-level-id": profile, "packetization-mode": mode}
    return Format(102, "h264", 90_000, 1, {name: value for name, value in given.items() if value is not None})


@pytest.mark.parametrize(
    ("sent", "received", "fits"),
    [
        (h264("42001e", "1"), h264("42e01f", "1"), True),  # ffmpeg to Safari
        (h264("42c01e", "1"), h264("42001f", "1"), True),  # x264 to Chromium
        (h264("4d801f", "1"), h264("42E01F", "1"), True),  # main with constraint_set0 is constrained baseline
        (h264("42e01f", "1"), h264("640c1f", "1"), True),
        (h264("4d001f", "1"), h264("64001f", "1"), True),
        (h264("640c1f", "1"), h264("42e01f", "1"), False),
        (h264("4d001f", "1"), h264("42e01f", "1"), False),
        (h264("f4001f", "1"), h264("f4001f", "1"), True),
        (h264("64001f", "1"), h264("f4001f", "1"), False),
        (h264("f4001f", "1"), h264("64001f", "1"), False),
        (h264("42e01f", "0"), h264("42e01f", "1"), True),
        (h264("42e01f", "1"), h264("42e01f", "0"), False),
        (h264(), h264("42e01f"), True),
        (h264("42e01f"), Format(96, "vp8", 90_000, 1), False),
    ],
)
def test_a_decoder_of_h264_takes_its_profile_and_those_below(sent: Format, received: Format, fits: bool) -> None:
    assert sent.fits(received) is fits
