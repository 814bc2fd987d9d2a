"""Every error code with what a person reads, Vietnamese first, and how a connection closes on it."""

TEXTS: dict[str, tuple[str, str]] = {
    "bad-message": ("Thông điệp không đúng định dạng.", "The message cannot be read."),
    "unknown-type": ("Không có loại thông điệp này.", "There is no such message."),
    "hello-first": ("Thông điệp đầu tiên phải là hello.", "The first message must be hello, and only that one."),
    "version": ("Phiên bản giao thức không được hỗ trợ.", "This version of the protocol is not spoken here."),
    "token": ("Liên kết vào phòng khám không hợp lệ.", "The link to the room is not valid."),
    "token-ended": (
        "Liên kết vào phòng khám đã hết hạn, hãy mở lại từ lịch hẹn.",
        "The link to the room is too old; open it again from the appointment.",
    ),
    "token-used": ("Liên kết này đã được dùng trên thiết bị khác.", "This link was used on another device."),
    "removed": ("Bạn đã được mời ra khỏi phòng khám.", "You were removed from the room."),
    "ended": ("Buổi khám đã kết thúc.", "The consultation has ended."),
    "room-full": ("Phòng khám đã đủ người.", "The room is full."),
    "full": ("Máy chủ đang quá tải, xin thử lại sau ít phút.", "The server is full; please try again in a few minutes."),
    "not-admitted": ("Bạn đang ở phòng chờ.", "You are still in the waiting room."),
    "not-allowed": ("Bạn không có quyền làm việc này.", "You have no right to do this."),
    "unknown-participant": ("Không có người này trong phòng.", "There is no such person in the room."),
    "unknown-track": ("Hình hoặc tiếng này không còn.", "This picture or sound is no longer there."),
    "unknown-mid": ("Không có đường truyền này.", "There is no such media line."),
    "sdp": ("Mô tả phiên (SDP) không đúng.", "The session description (SDP) is not right."),
    "codec": ("Không có bộ mã hình hoặc tiếng chung.", "There is no codec in common."),
    "too-many-tracks": ("Quá nhiều đường hình và tiếng.", "Too many pictures and sounds."),
    "closed": ("Đường truyền đã đóng.", "The media connection is closed."),
    "conflict": ("Người này đang ở trong phòng bằng cách khác.", "This participant is in the room by another way."),
    "too-long": ("Nội dung quá dài.", "The content is too long."),
    "rate": ("Quá nhiều thông điệp, xin chậm lại.", "Too many messages; slow down."),
    "slow": ("Đường truyền quá chậm để nhận thông điệp.", "The link is too slow to take the messages."),
    "silence": ("Mất liên lạc.", "Nothing was heard from you."),
    "recording": ("Lúc này không làm được việc ghi hình đó.", "Recording cannot do this now."),
    "internal": ("Lỗi máy chủ.", "A fault of the server."),
}  # fmt: skip
CLOSES: dict[str, int] = {
    "bad-message": 4400, "unknown-type": 4400, "hello-first": 4400, "version": 4400,
    "token": 4401, "token-ended": 4401, "token-used": 4401, "conflict": 4409, "removed": 4403, "not-admitted": 4403,
    "ended": 4410, "room-full": 4503, "full": 4503, "too-long": 4413, "rate": 4429, "slow": 4430, "silence": 4408, "internal": 1011,
}  # fmt: skip


def text(code: str) -> dict[str, str]:
    """Both languages."""
    vi, en = TEXTS.get(code, TEXTS["internal"])
    return {"vi": vi, "en": en}
