"""A rejected m-line of an answer becomes one that aiortc reads as inactive."""

from telemed.client.answer import complete

OFFER = """v=0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 96
a=mid:0
a=sendonly
a=rtcp-mux
a=rtpmap:96 opus/48000/2
m=audio 9 UDP/TLS/RTP/SAVPF 96
a=mid:1
a=inactive
a=rtcp-mux
a=rtpmap:96 opus/48000/2
""".replace("\n", "\r\n")
ALIVE = """m=audio 9 UDP/TLS/RTP/SAVPF 96
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=setup:passive
a=mid:0
a=recvonly
""".replace("\n", "\r\n")


def test_a_rejected_line_gets_the_transport_of_the_others_and_its_own_codecs() -> None:
    answer = "v=0\r\na=group:BUNDLE 0\r\n" + ALIVE + "m=audio 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=inactive\r\n"
    lines = complete(answer, OFFER).splitlines()
    assert "a=group:BUNDLE 0 1" in lines
    second = lines[[n for n, line in enumerate(lines) if line.startswith("m=")][1] :]
    assert second[0] == "m=audio 9 UDP/TLS/RTP/SAVPF 96"
    assert {"a=ice-ufrag:abcd", "a=setup:passive", "a=mid:1", "a=rtpmap:96 opus/48000/2", "a=inactive"} <= set(second)
    assert "a=recvonly" not in second


def test_an_answer_without_rejected_lines_stays_as_it_is() -> None:
    answer = "v=0\r\na=group:BUNDLE 0 1\r\n" + ALIVE + ALIVE.replace("mid:0", "mid:1")
    assert complete(answer, OFFER) == answer
